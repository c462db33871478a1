"""What deploy/ says agrees with the code: settings, commands, ports, names; and the tools at hand take it as sound."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.test_docs import settings_read

from zhenan.server import cli, embedded, services
from zhenan.server.processes.gateway import PORTS

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
OBJECTS: list[dict[str, Any]] = [
    found for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")) for found in yaml.safe_load_all(path.read_text())
]
OURS = {*cli.COMMANDS}
OTHERS = re.compile(r"(NATS_(NAME|HOST|STORE|PASSWORD|ROUTES)|DEVICE_PASSWORD|ROUTE_PASSWORD|POSTGRES_\w+|PGDATA|"
                    r"REPLICATION_PASSWORD|PEER_HOST|FOLLOWS|AWS_\w+)")  # fmt: skip


def of_kind(*kinds: str) -> list[dict[str, Any]]:
    return [one for one in OBJECTS if one["kind"] in kinds]


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for one in of_kind("StatefulSet", "Deployment", "Job"):
        yield one["metadata"]["name"], one["spec"]["template"]["spec"]


def variables_of(path: str) -> set[str]:
    return set(re.findall(r"^([A-Z0-9_]+)=", (DEPLOY / path).read_text("utf-8"), re.MULTILINE))


def test_every_setting_named_is_one_that_something_reads():
    known = settings_read() | {"ZHENAN_GB26875_PORT", "ZHENAN_JT808_PORT", "ZHENAN_HJ212_PORT"}
    named = {name for service in COMPOSE["services"].values() for name in service.get("environment") or {}}
    named |= {env["name"] for _, pod in pods() for box in pod["containers"] for env in box.get("env", ())}
    for path in ("env.example", "kubernetes/settings.env", "kubernetes/secret.env.example"):
        named |= variables_of(path)
    for unit in (DEPLOY / "systemd").glob("*.service"):
        named |= set(re.findall(r"\b(ZHENAN_[A-Z0-9_]+)=", unit.read_text("utf-8")))
    assert "ZHENAN_CLUSTER" in named
    assert {name for name in named - known if not OTHERS.fullmatch(name)} == set()


def test_every_command_is_one_of_zhenans():
    ours = [s for s in COMPOSE["services"].values() if s["image"] == "zhenan" and s.get("command")]
    commands = {service["command"][0] for service in ours}
    commands |= {
        box["args"][0] for _, pod in pods() for box in pod["containers"] if box["image"] == "zhenan" and "args" in box
    }
    for unit in (DEPLOY / "systemd").glob("*.service"):
        commands |= set(re.findall(r"zhenan\.server\.cli (\w+)", unit.read_text("utf-8")))
    assert commands <= OURS


def test_every_process_that_one_machine_runs_runs_in_every_deployment_too():
    wanted = {service.arguments[0] for service in services.table(host="", port=0, demo=False)}
    composed = {s["command"][0] for s in COMPOSE["services"].values() if s["image"] == "zhenan" and s.get("command")}
    pods_of = {
        box["args"][0] for _, pod in pods() for box in pod["containers"] if box["image"] == "zhenan" and "args" in box
    }
    units = {
        found for unit in (DEPLOY / "systemd").glob("*.service")
        for found in re.findall(r"zhenan\.server\.cli (\w+)", unit.read_text("utf-8"))
    }  # fmt: skip
    assert wanted == units
    assert wanted | {"prepare"} == composed == pods_of
    listed = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text("utf-8"))["resources"]
    assert {Path(name).name for name in listed} == {path.name for path in (DEPLOY / "kubernetes").glob("*.yaml")}


def test_the_image_is_copied_from_what_the_build_is_given_and_holds_what_set_up_reads():
    given = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    copied = {name for line in copies for name in line.split()}
    assert copied == given
    assert {"requirements", "package.json", "package-lock.json", "src", "run"} <= copied  # bootstrap.py reads them
    assert all((ROOT / name).exists() for name in copied)


def test_haproxy_takes_its_configuration():
    haproxy = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin") or pytest.skip("no haproxy here")
    done = subprocess.run([haproxy, "-c", "-f", DEPLOY / "haproxy.cfg"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


def test_the_protocols_ports_are_the_gateways_everywhere():
    listens = dict(re.findall(r"^listen (\w+)\n +bind :(\d+)", (DEPLOY / "haproxy.cfg").read_text(), re.MULTILINE))
    assert {name: int(listens[name]) for name in PORTS} == PORTS
    published = {int(port.partition(":")[0]) for port in COMPOSE["services"]["balancer"]["ports"]}
    assert published == {*PORTS.values(), 8000}
    service = next(one for one in of_kind("Service") if one["metadata"]["name"] == "gateway")
    assert {port["name"]: port["port"] for port in service["spec"]["ports"]} == PORTS
    gateway = dict(pods())["gateway"]["containers"][0]
    assert {port["name"]: port["containerPort"] for port in gateway["ports"]} == PORTS


def test_the_balancer_leads_to_services_that_exist():
    servers = re.findall(r"server (\w+) (\w+):(\d+)", (DEPLOY / "haproxy.cfg").read_text("utf-8"))
    assert len(servers) == len(PORTS) * 2 + 3 + 2
    assert {host for _, host, _ in servers} <= COMPOSE["services"].keys()
    assert all(name == host for name, host, _ in servers)


def test_addresses_name_services_that_exist():
    hosts = set()
    for value in COMPOSE["x-zhenan"]["environment"].values():
        hosts |= set(re.findall(r"[@,](\w+):\d+", value))
    assert hosts == {"postgres1", "postgres2", "nats1", "nats2", "nats3", "balancer"}
    assert hosts <= COMPOSE["services"].keys()
    secret = (DEPLOY / "kubernetes" / "secret.env.example").read_text("utf-8")
    sets = {one["metadata"]["name"]: one["spec"]["replicas"] for one in of_kind("StatefulSet")}
    named = set(re.findall(r"(\w+)-(\d)\.(\w+):", secret))
    assert {(name, int(n)) for name, n, _ in named} == {
        ("nats", 0),
        ("nats", 1),
        ("nats", 2),
        ("postgres", 0),
        ("postgres", 1),
    }
    services = {one["metadata"]["name"] for one in of_kind("Service")}
    assert all(int(n) < sets[name] and service in services for name, n, service in named)


def test_each_gateway_has_a_name_of_its_own_in_the_log():
    names = [
        s["environment"]["ZHENAN_GATEWAY_NAME"] for s in COMPOSE["services"].values() if s.get("command") == ["gateway"]
    ]
    assert len(names) == len(set(names)) == 2
    env = {one["name"]: one for one in dict(pods())["gateway"]["containers"][0]["env"]}
    assert env["ZHENAN_GATEWAY_NAME"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"


def test_the_cluster_is_as_large_as_it_says():
    of = [service.get("command", [""])[0] for service in COMPOSE["services"].values() if service.get("command")]
    assert {name: of.count(name) for name in ("gateway", "judge", "historian", "tracks", "web", "worker")} == {
        "gateway": 2, "judge": 3, "historian": 2, "tracks": 1, "web": 2, "worker": 2,
    }  # fmt: skip
    counts = {one["metadata"]["name"]: one["spec"]["replicas"] for one in of_kind("StatefulSet", "Deployment")}
    assert counts == {
        "nats": 3,
        "postgres": 2,
        "gateway": 2,
        "judge": 3,
        "historian": 2,
        "tracks": 1,
        "web": 2,
        "worker": 2,
    }


@pytest.mark.parametrize(("name", "pod"), [one for one in pods() if one[0] != "prepare"])
def test_every_pod_is_watched_spread_bounded_and_without_privileges(name, pod):
    box = pod["containers"][0]
    if name != "worker":
        assert "livenessProbe" in box
        assert "startupProbe" in box
    alone = {one["metadata"]["name"] for one in of_kind("StatefulSet", "Deployment") if one["spec"]["replicas"] == 1}
    assert name in alone or "podAntiAffinity" in pod["affinity"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert not box["securityContext"]["allowPrivilegeEscalation"]
    assert box["resources"]["limits"]["memory"]
    budgets = {one["spec"]["selector"]["matchLabels"]["app"] for one in of_kind("PodDisruptionBudget")}
    assert name in budgets


def test_selectors_find_their_pods_and_mounts_their_volumes():
    labels = {one["spec"]["template"]["metadata"]["labels"]["app"] for one in of_kind("StatefulSet", "Deployment")}
    assert {one["spec"]["selector"]["app"] for one in of_kind("Service")} <= labels
    for one in of_kind("StatefulSet", "Deployment", "Job"):
        spec = one["spec"]["template"]["spec"]
        volumes = {v["name"] for v in spec.get("volumes", ())}
        volumes |= {v["metadata"]["name"] for v in one["spec"].get("volumeClaimTemplates", ())}
        assert {mount["name"] for box in spec["containers"] for mount in box["volumeMounts"]} <= volumes
        keys = {e["valueFrom"]["secretKeyRef"]["key"] for box in spec["containers"] for e in box.get("env", ())
                if "secretKeyRef" in e.get("valueFrom", {})}  # fmt: skip
        assert keys <= variables_of("kubernetes/secret.env.example")


def nats_environment(folder: Path) -> dict[str, str]:
    conf = (DEPLOY / "nats" / "nats.conf").read_text("utf-8")
    wanted = set(re.findall(r"\$([A-Z_]+)", re.sub(r'"[^"]*"|#.*', "", conf)))
    given = dict.fromkeys(wanted, "secret1") | {
        "NATS_NAME": "nats1", "NATS_HOST": "127.0.0.1", "NATS_STORE": str(folder),
        "NATS_ROUTES": '["nats://route:secret1@nats1:6222", "nats://route:secret1@nats2:6222"]',
    }  # fmt: skip
    compose = {*COMPOSE["x-nats-environment"], "NATS_NAME"}
    kubernetes = {env["name"] for env in dict(pods())["nats"]["containers"][0]["env"]}
    assert wanted == compose == kubernetes
    return {**os.environ, **given}


def test_nats_takes_its_configuration_and_lets_devices_do_what_the_embedded_one_does(tmp_path):
    path = DEPLOY / "nats" / "nats.conf"
    done = subprocess.run(
        [embedded.nats_program(), "-t", "-c", path], env=nats_environment(tmp_path), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    text = path.read_text("utf-8")
    for line in ("publish: { allow:", "subscribe: { allow:", "max_payload:", "ack_wait:", "max_ack_pending:"):
        ours = next(part for part in text.splitlines() if line in part).strip()
        assert ours.rstrip(" }") in embedded.NATS_CONFIG.replace("{{", "{").replace("}}", "}")


def test_kustomize_builds_the_manifests(tmp_path):
    kubectl = shutil.which("kubectl") or pytest.skip("no kubectl on this machine")
    copy = shutil.copytree(DEPLOY, tmp_path / "deploy")
    (copy / "kubernetes" / "secret.env.example").rename(copy / "kubernetes" / "secret.env")
    done = subprocess.run([kubectl, "kustomize", copy], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    built = [one for one in yaml.safe_load_all(done.stdout) if one]
    assert {one["metadata"].get("namespace", "zhenan") for one in built} == {"zhenan"}
    assert len(built) == len(OBJECTS) + 4  # three config maps and a secret are made of files


def test_systemd_takes_the_units_and_finds_them_locked_up(tmp_path):
    analyze = shutil.which("systemd-analyze") or pytest.skip("no systemd on this machine")
    units = []
    for path in (DEPLOY / "systemd").iterdir():
        copy = tmp_path / path.name.replace("@.", "@1.")
        copy.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", path.read_text("utf-8"), flags=re.MULTILINE))
        units.append(copy)
    env = {**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"}
    done = subprocess.run([analyze, "verify", "--man=no", *units], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert len(units) == 8
    for unit in units:
        if unit.suffix == ".service":
            told = subprocess.run([analyze, "security", "--offline=true", "--threshold=20", unit], env=env,
                                  capture_output=True, text=True, timeout=60)  # fmt: skip
            assert told.returncode == 0, told.stdout[-300:]
            assert "Restart=always" in unit.read_text("utf-8")
