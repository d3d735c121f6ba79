#!/usr/bin/env python3
"""What the agent costs a classroom PC, beside zabbix_agentd on its stock Linux template, in one run.

Both run side by side on this machine for the same span: bbt-agent (profile `agent`) with its defaults against a
real controller on loopback, zabbix_agentd asked for the items of "Linux by Zabbix agent" once a minute, as that
template has them. Read from the kernel: processor time (/proc/PID/stat), proportional and anonymous memory
(smaps_rollup), voluntary context switches (wake-ups), and for bbt-agent the TCP connection's own counters
(ss -ti), to which 66 bytes per segment are added for Ethernet, IPv4 and TCP with timestamps.

    cargo build -p bbt-agent --profile agent && cargo build --release -p bbt-controller
    tests/load/agent.py [--minutes 15]

Needs root for smaps_rollup of both, and Debian's zabbix-agent, which it installs when it is missing.
"""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TICKS = os.sysconf("SC_CLK_TCK")
# Ethernet 14, IPv4 20, TCP 20 and its timestamps 12.
SEGMENT_HEADERS = 66
# The kernel counts processor time in hundredths of a second, of which an agent uses a few in a minute.
MINUTES_AT_LEAST = 5
# Handshake, first inventory and its answer are over by then.
SETTLED_SECS = 30
# A school day: powered from half past seven to half past five.
SCHOOL_DAY_SECS = 10 * 3600

# "Linux by Zabbix agent", template of 6.0: items asked for once a minute.
EVERY_MINUTE = """
agent.ping agent.version agent.hostname system.cpu.load[all,avg1] system.cpu.load[all,avg5]
system.cpu.load[all,avg15] system.cpu.num system.cpu.util[,idle] system.cpu.util[,user] system.cpu.util[,nice]
system.cpu.util[,system] system.cpu.util[,iowait] system.cpu.util[,interrupt] system.cpu.util[,softirq]
system.cpu.util[,steal] system.cpu.util[,guest] system.cpu.util[,guest_nice] system.cpu.switches
system.cpu.intr system.hostname system.uname system.sw.arch system.uptime system.boottime system.localtime
system.users.num system.swap.size[,total] system.swap.size[,free] system.swap.size[,pfree]
vm.memory.size[total] vm.memory.size[available] vm.memory.size[pavailable] kernel.maxproc kernel.maxfiles
proc.num[] proc.num[,,run] vfs.file.cksum[/etc/passwd,sha256] vfs.dev.discovery net.if.discovery vfs.fs.get
""".split()
PER_DISK = ["vfs.file.contents[/sys/block/{}/stat]"]
PER_INTERFACE = [
    "net.if.in[{}]", "net.if.in[{},dropped]", "net.if.in[{},errors]", "net.if.out[{}]", "net.if.out[{},dropped]",
    "net.if.out[{},errors]", "vfs.file.contents[/sys/class/net/{}/operstate]",
    "vfs.file.contents[/sys/class/net/{}/speed]", "vfs.file.contents[/sys/class/net/{}/type]",
]
PER_FILE_SYSTEM = ["vfs.fs.size[{},used]", "vfs.fs.size[{},total]", "vfs.fs.size[{},pused]", "vfs.fs.inode[{},pfree]"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=15)
    minutes = parser.parse_args().minutes
    if minutes < MINUTES_AT_LEAST:
        sys.exit(f"--minutes {minutes}: in less than {MINUTES_AT_LEAST} either agent uses too little time to be compared")
    agent = ROOT / "target/agent/bbt-agent"
    controller = ROOT / "target/release/bbt-controller"
    for program in (agent, controller):
        if not program.exists():
            sys.exit(f"{program.relative_to(ROOT)} is missing; the head of this file says how to build it")
    if not shutil.which("zabbix_agentd"):
        # Only the program: Debian would start it as a service.
        environment = dict(os.environ, RUNLEVEL="1", DEBIAN_FRONTEND="noninteractive")
        subprocess.run(["apt-get", "install", "-y", "-q", "zabbix-agent"], check=True, env=environment)
    zabbix = shutil.which("zabbix_agentd") or "/usr/sbin/zabbix_agentd"

    children = []
    with tempfile.TemporaryDirectory(prefix="bbt-load-") as folder:
        try:
            measure(Path(folder), agent, controller, zabbix, minutes, children)
        finally:
            for child in reversed(children):
                child.send_signal(signal.SIGTERM)
                child.wait(30)


def measure(folder, agent, controller, zabbix, minutes, children):
    state, ours = start_county(folder, agent, controller, children)
    port, theirs = start_zabbix(folder, zabbix, children)
    time.sleep(SETTLED_SECS)
    first_contact = wire_bytes(ours)
    before = [cost(group) for group in ([ours], theirs())]
    started = time.monotonic()
    rounds = 0
    while time.monotonic() - started < minutes * 60:
        ask_zabbix(port)
        rounds += 1
        next_round = started + rounds * 60
        time.sleep(max(0, min(next_round, started + minutes * 60) - time.monotonic()))
    span = time.monotonic() - started
    after = [cost(group) for group in ([ours], theirs())]
    steady = wire_bytes(ours) - first_contact

    rows = []
    for name, group, old, new in zip(("bbt-agent", "zabbix_agentd"), ([ours], theirs()), before, after):
        pss, anonymous = memory(group)
        rows.append((name, pss, anonymous, (new[0] - old[0]) / span * 3600, (new[1] - old[1]) / span))
    print(f"{'':14} {'PSS KiB':>8} {'anonymous KiB':>14} {'CPU s/h':>8} {'wake-ups/s':>11}   over {span:.0f} s")
    for name, pss, anonymous, cpu, wakes in rows:
        print(f"{name:14} {pss:8} {anonymous:14} {cpu:8.2f} {wakes:11.2f}")
    (_, a, b, c, _), (_, x, y, z, _) = rows
    print(f"{'ratio':14} {a / x:8.2f} {b / y:14.2f} {c / z:8.2f}")
    print(f"size of the stripped agent: {agent.stat().st_size:,} bytes")
    day = first_contact + steady / span * SCHOOL_DAY_SECS
    print(f"on the wire, headers and acks counted: {first_contact:,} bytes for the first contact, then {steady:,}")
    print(f"  in {span:.0f} s with {frames(agent, state)}: about {day / 1000:.0f} KB in a school day of "
          f"{SCHOOL_DAY_SECS // 3600} hours")


def frames(agent, state):
    """What was sent. A frame of state tells what changed, such as free room by 256 MiB: none on a quiet machine."""
    command = [agent, "spool", "list", "--json", "--state", state]
    kinds = Counter(frame["kind"] for frame in json.loads(subprocess.check_output(command))["items"])
    return ", ".join(f"{count} frames of {kind}" for kind, count in sorted(kinds.items()))


def start_county(folder, agent, controller, children):
    data, state = folder / "county", folder / "device"
    password = folder / "password"
    password.write_text("only-for-this-run\n")
    environment = dict(os.environ, BBT_CONTROLLER_DATA=str(data), BBT_AGENT_STATE=str(state))
    for listener in ("AGENTS", "ENROLLMENT", "CONSOLE", "ADMIN"):
        environment[f"BBT_CONTROLLER__LISTEN__{listener}"] = "127.0.0.1:0"

    def run(*command, text=None):
        done = subprocess.run(command, env=environment, input=text, text=True, capture_output=True)
        if done.returncode:
            sys.exit(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
        return done.stdout

    run(controller, "init", "--county", "load", "--name", "127.0.0.1", "--admin-password-file", password)
    log = open(folder / "controller.log", "w")
    children.append(subprocess.Popen([controller, "serve"], env=environment, stderr=log))
    deadline = time.monotonic() + 30
    while not (data / "run/listen.json").exists():
        if time.monotonic() > deadline:
            sys.exit("the controller is not ready after 30 s")
        time.sleep(0.05)
    run(controller, "school", "add", "--code", "LOAD", "--name", "load")
    token = json.loads(run(controller, "token", "create", "--school", "LOAD", "--json"))
    config = folder / "agent.toml"
    config.write_text("")
    run(agent, "enroll", "--config", config, "--controller", token["enrollment"], "--ca-sha256", token["ca_sha256"],
        "--token-file", "-", text=token["token"])
    log = open(folder / "agent.log", "w")
    child = subprocess.Popen([agent, "run", "--config", config], env=environment, stderr=log)
    children.append(child)
    return state, child.pid


def start_zabbix(folder, program, children):
    port = free_port()
    config = folder / "zabbix_agentd.conf"
    config.write_text(f"Server=127.0.0.1\nListenIP=127.0.0.1\nListenPort={port}\nLogType=console\nAllowRoot=1\n"
                      f"PidFile={folder}/zabbix.pid\nHostname=load\n")
    log = open(folder / "zabbix.log", "w")
    child = subprocess.Popen([program, "-f", "-c", config], stdout=log, stderr=log)
    children.append(child)
    deadline = time.monotonic() + 30
    while True:
        try:
            ask(port, "agent.ping")
            break
        except OSError as error:
            if child.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"zabbix_agentd does not answer ({error}); it said:\n{Path(log.name).read_text()}")
            time.sleep(0.1)

    def processes():
        listed = subprocess.run(["pgrep", "-P", str(child.pid)], text=True, capture_output=True).stdout.split()
        return [child.pid, *map(int, listed)]

    return port, processes


def free_port():
    """zabbix_agentd takes no port above 32767, where the kernel's own choice begins."""
    for port in range(20_000, 32_768):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    sys.exit("no port is free")


def ask(port, key):
    with socket.create_connection(("127.0.0.1", port), 5) as stream:
        stream.sendall(b"ZBXD\x01" + struct.pack("<Q", len(key)) + key.encode())
        answer = b""
        while block := stream.recv(65536):
            answer += block
    return answer[13:].decode(errors="replace")


def ask_zabbix(port):
    for key in EVERY_MINUTE:
        ask(port, key)
    for disk in os.listdir("/sys/block"):
        if not re.match(r"(loop|ram|zram)", disk):
            for key in PER_DISK:
                ask(port, key.format(disk))
    for interface in os.listdir("/sys/class/net"):
        if interface != "lo":
            for key in PER_INTERFACE:
                ask(port, key.format(interface))
    for key in PER_FILE_SYSTEM:
        ask(port, key.format("/"))


def cost(processes):
    """Processor seconds and voluntary context switches of all threads."""
    ticks = switches = 0
    for process in processes:
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(") ", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
        for task in Path(f"/proc/{process}/task").iterdir():
            status = (task / "status").read_text()
            switches += int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.M)[1])
    return ticks / TICKS, switches


def memory(processes):
    pss = anonymous = 0
    for process in processes:
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
        pss += int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1])
        anonymous += int(re.search(r"^Anonymous:\s+(\d+)", text, re.M)[1])
    return pss, anonymous


def wire_bytes(process):
    """Bytes of the agent's connection so far."""
    listed = subprocess.run(["ss", "-tinpH", "state", "established"], text=True, capture_output=True).stdout
    blocks = re.split(r"\n(?=\S)", listed)
    mine = [block for block in blocks if f"pid={process}," in block]
    if len(mine) != 1:
        sys.exit(f"the agent has {len(mine)} connections, one is expected:\n{listed}")

    def value(name):
        found = re.search(rf"\b{name}:(\d+)", mine[0])
        return int(found[1]) if found else 0

    segments = value("segs_out") + value("segs_in")
    return value("bytes_sent") + value("bytes_received") + segments * SEGMENT_HEADERS


if __name__ == "__main__":
    main()
