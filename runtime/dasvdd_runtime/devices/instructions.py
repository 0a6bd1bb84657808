"""INSTALL.md: the commands that set one device up. Pure but for the template that it reads."""

from __future__ import annotations

import re
from string import Template

from .answers import (
    BROKER_PASSWORD,
    HTTP_TOKEN,
    KINDS_WITH_A_PASSWORD,
    PACKAGES,
    PORT,
    RULES,
    SOURCE_PASSWORD,
    UNIT,
    Answers,
    dropins,
    extras,
    secrets,
)
from .profile import DeviceProfile, load_profile, template


def instructions(device: str, profile: DeviceProfile, answers: Answers) -> str:
    packages = list(PACKAGES.get(answers.kind, []))
    if profile.service == "systemd":
        packages.insert(0, "python3-venv")
    needed = extras(profile, answers)
    wheelhouse = ["python scripts/wheelhouse.py", f"--device {device}"]
    if profile.provider != load_profile(device).provider:
        wheelhouse.append(f"--provider {profile.provider}")
    wheelhouse += [f"--extra {extra}" for extra in needed if extra not in profile.requirement_extras]
    if profile.onnxruntime_from:
        wheelhouse.append(f"--wheel {profile.onnxruntime.replace('-', '_')}-VERSION.whl")
    text = Template(template(device, "INSTALL.md")).substitute(
        profile.model_dump(),
        packages=" ".join(packages),
        requirement=f"dasvdd[{','.join(needed)}]",
        wheelhouse=" ".join([*wheelhouse, "--out wheels"]),
        onnxruntime_from=f"{profile.onnxruntime_from}\n\n" if profile.onnxruntime_from else "",
        with_network="" if profile.onnxruntime_from else _with_network_step(needed),
        model=answers.model,
        edit=_edit_step(profile, answers),
        secret="".join(_secret_step(profile, name) for name in secrets(answers)),
        udev=_udev_step(answers),
        page=_page_step(profile, answers),
        broker=_broker_step(answers),
        dropins="".join(
            f"sudo install -D -m 644 {name} /etc/systemd/system/{UNIT}.d/{name}\n" for name in dropins(profile, answers)
        ),
        options=_container_options(answers),
        publish=f"-p {PORT}:{PORT} " if answers.page == "network" else "",
    )
    return re.sub(r"\n{3,}", "\n\n", text)


def _with_network_step(needed: list[str]) -> str:
    """The same without a wheelhouse; the project's wheel by its file, since the package index has no release of it."""
    return (
        "Where the device has a network, the project's own wheel is enough in `wheels/`: in the checkout\n"
        "`python -m pip wheel --no-deps --wheel-dir wheels .`, and on the device\n"
        f'`sudo /opt/dasvdd/bin/python -m pip install "$(ls wheels/dasvdd-*.whl)[{",".join(needed)}]"`.\n\n'
    )


def _edit_step(profile: DeviceProfile, answers: Answers) -> str:
    if answers.kind in ("microphone", "serial"):
        return ""
    step = "**Edit `[[source]]` in monitor.toml first**: it is an example, `docs/monitor.md` has its keys."
    if answers.kind in KINDS_WITH_A_PASSWORD:
        also = "" if profile.service == "container" else f", and `LoadCredential={SOURCE_PASSWORD}` from network.conf,"
        step += f" Remove `username` and `password_file`{also} where it has no user."
    return f"{step}\n\n"


def _secret_step(profile: DeviceProfile, name: str) -> str:
    if name == HTTP_TOKEN:
        return _token_step(profile)
    whose = {BROKER_PASSWORD: "The broker's password", SOURCE_PASSWORD: "The source's password"}[name]
    if profile.service == "container":
        return f"{whose} stands on one line of `{name}` here: `sudo chown 10001 {name}; sudo chmod 400 {name}`.\n\n"
    return (
        f"{whose}, on one line, and readable by root alone:\n\n"
        f"```sh\nsudo install -m 600 /dev/null /etc/dasvdd/{name}\nsudoedit /etc/dasvdd/{name}\n```\n\n"
        "systemd hands it to the service: before that runs, `check` says FAIL, since it cannot read it.\n\n"
    )


def _token_step(profile: DeviceProfile) -> str:
    made = "python3 -c 'import secrets; print(secrets.token_hex(16))'"
    if profile.service == "container":
        return (
            f"The token that the page asks for:\n\n```sh\n{made} > {HTTP_TOKEN}\n"
            f"sudo chown 10001 {HTTP_TOKEN}\nsudo chmod 400 {HTTP_TOKEN}\n```\n\n"
        )
    return (
        "The token that the page asks for, readable by root alone; systemd hands it to the service, and until then "
        f"`check` says FAIL:\n\n```sh\nsudo install -m 600 /dev/null /etc/dasvdd/{HTTP_TOKEN}\n"
        f"{made} | sudo tee /etc/dasvdd/{HTTP_TOKEN}\n```\n\n"
    )


def _page_step(profile: DeviceProfile, answers: Answers) -> str:
    """Where the page is, and who reads the metrics."""
    if answers.page == "none":
        return ""
    here = f"http://127.0.0.1:{PORT}/"
    if answers.page == "network":
        token = HTTP_TOKEN if profile.service == "container" else f"/etc/dasvdd/{HTTP_TOKEN}"
        where = (
            f"`http://DEVICE:{PORT}/`, on a phone too, where DEVICE is this device's name or address. It asks for the "
            f"token: `sudo cat {token}`. It is plain HTTP: stay in a network that you trust, or put a proxy with TLS "
            "in front."
        )
    elif profile.service == "container":
        where = f"`{here}` inside the container alone, for its health check. For phones: `--page network` of `init`."
    else:
        where = (
            f"`{here}` on this device; from elsewhere after `ssh -L {PORT}:127.0.0.1:{PORT} DEVICE`. For phones: "
            "`--page network` of `init`."
        )
    alerts = "`prometheus.yml` and `dasvdd.rules.yml` are for a Prometheus that calls somebody"
    if answers.page == "network":
        alerts += ": put the device into `targets`, the token beside it, then `promtool check config prometheus.yml`."
    elif profile.service == "container":
        alerts += ", which needs `--page network` too."
    else:
        alerts += ", on this device."
    return f"## Page and alerts\n\n{where}\n\n{alerts}\n\n"


def _broker_step(answers: Answers) -> str:
    if not answers.broker:
        return ""
    return (
        "`mosquitto.conf` and `mosquitto.acl` are an example of the broker: the monitor writes, others read, and only "
        "some may answer and mute.\n\n"
    )


def _udev_step(answers: Answers) -> str:
    if not answers.usb_port:
        return ""
    return (
        "## A name that stays\n\n"
        f"```sh\nsudo install -m 644 {RULES} /etc/udev/rules.d/{RULES}\nsudo udevadm control --reload\n```\n\n"
        f"Then take what is in USB port {answers.usb_port} out and plug it in again.\n\n"
    )


def _container_options(answers: Answers) -> str:
    options = [
        *("--read-only", "--tmpfs /tmp", "--cap-drop ALL", "--security-opt no-new-privileges"),
        *('-v "$PWD:/etc/dasvdd:ro"', "-v dasvdd:/var/lib/dasvdd"),
    ]
    if answers.kind in ("microphone", "command"):
        options.append('--device /dev/snd --group-add "$(getent group audio | cut -d: -f3)"')
    if answers.kind == "csv_tail":
        options.append("-v /var/log/logger:/var/log/logger:ro")  # the folder of the example
    if answers.kind == "serial":
        port = answers.port or f"/dev/dasvdd-{answers.short_name}"
        options.append(f'--device {port} --group-add "$(getent group dialout | cut -d: -f3)"')
    return " ".join(options)
