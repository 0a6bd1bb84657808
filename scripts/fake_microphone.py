"""A microphone without a sound card: PulseAudio's null sink in real time, heard through ALSA as the device 'fakemic'.

Bit-exact at 16 kHz, 16 bit, one channel; for any user, without D-Bus. Debian packages: pulseaudio pulseaudio-utils
libasound2-plugins, and libportaudio2 to listen.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

NULL_SINK = ["module-null-sink", "sink_name=wavsink", "rate=16000", "channels=1", "format=s16le"]


class FakeMicrophone:
    """A PulseAudio server whose null sink can be listened to as 'fakemic', unplugged and plugged in again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        runtime = folder / "run"
        runtime.mkdir(mode=0o700)
        socket = runtime / "native"
        self.environment = os.environ | {
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(runtime),
            "PULSE_SERVER": f"unix:{socket}",
            "ALSA_CONFIG_PATH": str(folder / "asound.conf"),
        }
        (folder / "asound.conf").write_text(
            "</usr/share/alsa/alsa.conf>\n"
            'pcm.fakemic { type pulse device "wavsink.monitor" hint { show on description "Fake USB mic" } }\n'
        )
        self._protocol = f"module-native-protocol-unix socket={socket} auth-anonymous=1"
        self._players: list[subprocess.Popen[bytes]] = []
        self.start_server()

    def start_server(self) -> None:
        """Start the sound server, with the microphone plugged in."""
        self._server = subprocess.Popen(
            ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--log-target=stderr",
             "--log-level=error", "-L", self._protocol],
            env=self.environment, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 15
        while subprocess.run(["pactl", "info"], env=self.environment, capture_output=True, check=False).returncode:
            assert time.monotonic() < deadline, "pulseaudio does not answer"
            time.sleep(0.1)
        self.plug()

    def kill_server(self) -> None:
        """Kill the sound server, as a crash would."""
        self._server.kill()
        self._server.wait()

    def plug(self) -> None:
        """Plug the microphone in."""
        self._module = self._pactl("load-module", *NULL_SINK).strip()

    def unplug(self) -> None:
        """Pull the microphone out."""
        self._pactl("unload-module", self._module)

    def play(self, path: Path) -> None:
        """Begin to play a WAV file into the microphone."""
        self._players.append(subprocess.Popen(["paplay", "--device=wavsink", str(path)], env=self.environment))

    def close(self) -> None:
        """End what was started."""
        for process in [*self._players, self._server]:
            process.kill()
            process.wait()

    def _pactl(self, *arguments: str) -> str:
        done = subprocess.run(["pactl", *arguments], env=self.environment, capture_output=True, text=True, check=True)
        return done.stdout
