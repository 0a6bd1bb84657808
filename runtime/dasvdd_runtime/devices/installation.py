"""Answers about one installation -> the files for the device, as text. Pure but for the templates that it reads."""

from __future__ import annotations

import json
import re
import tomllib
from string import Template

from ..configuration.config import MonitorConfig
from ..configuration.strict_config import validate
from .answers import (
    BROKER_PASSWORD,
    HTTP_TOKEN,
    PORT,
    RULES,
    SECRET_FOLDERS,
    SOURCE_PASSWORD,
    UNIT,
    Answers,
    dropins,
    secrets,
)
from .instructions import instructions
from .profile import DeviceProfile, profiles_folder, template


def installation(device: str, profile: DeviceProfile, answers: Answers) -> dict[str, str]:
    """The files for the device, by their names. Raises ConfigError where the answers make no valid monitor.toml."""
    written = {"monitor.toml": _monitor_toml(device, profile, answers)}
    validate(MonitorConfig, tomllib.loads(written["monitor.toml"]), origin="monitor.toml of these answers")
    if profile.service == "container":
        written["Dockerfile"] = template(device, "Dockerfile")
    else:
        systemd = profiles_folder() / "systemd"
        for name in [UNIT, *dropins(profile, answers)]:
            written[name] = (systemd / name).read_text(encoding="utf-8")
        for credential in secrets(answers):
            line = f"LoadCredential={credential}:"
            written["network.conf"] = written["network.conf"].replace(f"# {line}", line)
    if answers.usb_port:
        rules = Template(template(device, f"{answers.kind}.rules"))
        written[RULES] = rules.substitute(usb_port=answers.usb_port, short_name=answers.short_name)
    written |= _for_others(answers)
    written["INSTALL.md"] = instructions(device, profile, answers)
    return written


def _monitor_toml(device: str, profile: DeviceProfile, answers: Answers) -> str:
    tables = [f"[evidence]\nmode = {_text(answers.evidence)}\n"]
    if answers.broker:
        tables.append(_broker_tables(profile, answers))
    if answers.page == "local":
        tables.append(f'[http]\nlisten = "127.0.0.1:{PORT}"\n')
    elif answers.page == "network":
        token_file = f"{SECRET_FOLDERS[profile.service]}/{HTTP_TOKEN}"
        tables.append(f'[http]\nlisten = "0.0.0.0:{PORT}"\ntoken_file = {_text(token_file)}\n')
    text = Template(template(device, "monitor.toml")).substitute(
        title=profile.title,
        model=_text(answers.model),
        provider=profile.provider,
        source=_source_table(profile, answers),
        tables="".join(f"\n{table}" for table in tables),
    )
    return text.rstrip() + "\n"


def _for_others(answers: Answers) -> dict[str, str]:
    """What others in the plant set up: a Prometheus that reads the metrics, and a broker."""
    shipped = {"prometheus": ["prometheus.yml", "dasvdd.rules.yml"], "mosquitto": ["mosquitto.conf", "mosquitto.acl"]}
    wanted = {"prometheus": answers.page != "none", "mosquitto": bool(answers.broker)}
    files = {
        name: (profiles_folder() / folder / name).read_text(encoding="utf-8")
        for folder, names in shipped.items()
        for name in names
        if wanted[folder]
    }
    if answers.page == "network":
        files["prometheus.yml"] = files["prometheus.yml"].replace("# authorization:", "authorization:")
    return files


def _source_table(profile: DeviceProfile, answers: Answers) -> str:
    """The table `[[source]]`; of kinds that are not asked about, the example that is shipped, to be edited."""
    lines = ["[[source]]", f"name = {_text(answers.name)}", f'kind = "{answers.kind}"']
    if answers.kind == "microphone":
        if answers.microphone or not answers.usb_port:
            lines.append(f"device = {_text(answers.microphone)}")
        if answers.usb_port:
            lines.append(f"usb_port = {_text(answers.usb_port)}")
    elif answers.kind == "serial":
        port = answers.port or f"/dev/dasvdd-{answers.short_name}"
        lines += [f"port = {_text(port)}", "baud = 115200"]
    else:
        file = "mqtt_rows" if answers.kind == "mqtt" else answers.kind
        example = (profiles_folder() / f"{file}.toml").read_text(encoding="utf-8")
        _, _, rest = example.partition('name = "machine"\nkind = ')
        file_line = f'password_file = "{SECRET_FOLDERS[profile.service]}/{SOURCE_PASSWORD}"'
        rest = re.sub(r'password_file = "[^"]*"( +# .*)?', file_line, rest.partition("[events]")[0].rstrip())
        lines = [*lines[:2], f"kind = {rest}"]
    return "\n".join(lines) + "\n"


def _broker_tables(profile: DeviceProfile, answers: Answers) -> str:
    lines = ["[outbox]", 'folder = "/var/lib/dasvdd"', "", "[mqtt]", f"host = {_text(answers.broker)}"]
    lines.append(f"tls = {'true' if answers.broker_tls else 'false'}")
    if answers.broker_user:
        password_file = f"{SECRET_FOLDERS[profile.service]}/{BROKER_PASSWORD}"
        lines += [f"username = {_text(answers.broker_user)}", f"password_file = {_text(password_file)}"]
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    """`value` as a TOML string."""
    return json.dumps(value, ensure_ascii=False)
