"""Whole journeys in Chromium on the running platform: from a device's reading to a closed hazard and a moved figure."""

from __future__ import annotations

import io
import socket
import time
from datetime import datetime, timedelta
from datetime import timezone as tz

import pytest
from django.contrib.auth.hashers import make_password
from django.utils import timezone
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect
from tests.support.personas import PASSWORD
from tests.support.system import MqttDevice, System, running

from zhenan.domains.hazards.models import Hazard
from zhenan.domains.indicators.queries import Question, figure, records
from zhenan.domains.monitoring.devices import register_device
from zhenan.domains.monitoring.models import Alarm
from zhenan.domains.register.models import Subject
from zhenan.kernel.people.models import User
from zhenan.packkit.registry import registry
from zhenan.packkit.sync import sync_packs
from zhenan.telemetry.codecs import gb26875

# An idle machine shows a reading in under 2 s; a busy one gets more, lest the test measure the machine.
LIVE_MS = 15_000
DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture
def city_with_people(transactional_db, personas):
    """Everyone can sign in; packs are in force."""
    sync_packs()
    password = make_password(PASSWORD)
    for user in personas.users.values():
        user.password, user.language = password, "zh-hans"
    User.objects.bulk_update(personas.users.values(), ["password", "language"])
    return personas


@pytest.fixture
def system(city_with_people, nats_server, nats_url, tmp_path):
    with running(
        tmp_path,
        nats_url=nats_url,
        mqtt_url=nats_server.mqtt_url,
        names=("web", "gateway", "judge"),
    ) as started:
        yield started
        for name in started.processes:
            print(name, started.log_of(name))


@pytest.fixture
def people(browser: Browser, system: System):
    """``people("town_officer_here")`` is that person's signed-in page; ``size=PHONE`` on a phone."""
    contexts = []

    def sign_in(name: str, size=DESK) -> Page:
        context = browser.new_context(
            viewport=size, locale="zh-CN", timezone_id="Asia/Shanghai", base_url=system.web_url,
            geolocation={"longitude": 119.5501, "latitude": 32.0001}, permissions=["geolocation"],
            is_mobile=size is PHONE, has_touch=size is PHONE,
        )  # fmt: skip
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: pytest.fail(f"script error: {error}"))
        page.goto("/accounts/login/")
        page.fill("input[name=login]", name)
        page.fill("input[name=password]", PASSWORD)
        page.click("button[type=submit]")
        page.wait_for_url(f"{system.web_url}/")
        return page

    yield sign_in
    for context in contexts:  # shown where the journey failed
        for page in context.pages:
            print(page.url, page.locator("body").inner_text()[:1500])
        context.close()


def photo(colour: str) -> dict[str, object]:
    buffer = io.BytesIO()
    Image.new("RGB", (1200, 900), colour).save(buffer, "JPEG")
    return {"name": f"{colour}.jpg", "mimeType": "image/jpeg", "buffer": buffer.getvalue()}


def wait_for(what, seconds=15.0):
    """Poll until the callable gives something true."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = what()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"did not come within {seconds} s")


def value_of(code: str) -> float:
    return figure(registry().indicator(code), Question(None, timezone.localdate())).value or 0.0


def rate_of() -> tuple[int, int]:
    """Numbers behind the indicator of rectified catering hazards: found, and of those accepted or delisted."""
    one, asked = registry().indicator("catering_gas.rectified_rate"), Question(None, timezone.localdate())
    return records(one, asked).count(), records(one, asked, numerator=True).count()


def _later(detector: MqttDevice, alarm: Alarm) -> bool:
    """Low readings until the alarm's condition has been away for as long as its rule asks."""
    detector.send(lel=1.0)
    time.sleep(1)
    return Alarm.objects.get(pk=alarm.pk).cleared_at is not None


@pytest.fixture
def caterer(city_with_people):
    p = city_with_people
    subject = Subject.objects.create(
        type="catering_gas.caterer",
        programme="catering_gas",
        key="JOURNEY",
        name="老街饭店",
        division=p.grid,
        organisation=p.organisations["enterprise-here"],
        lon=119.55,
        lat=32.0,
        address="中山路1号",
        attributes={"gas_kind": "natural"},
    )
    now = timezone.now()
    register_device(subject=subject, model="catering_gas.gas_detector", key="GDJ1", name="后厨报警器", by=None, at=now)
    register_device(subject=subject, model="catering_gas.shutoff_valve", key="SVJ1", name="切断阀", by=None, at=now)
    return subject


def test_a_gas_alarm_goes_all_the_way_to_a_closed_hazard(caterer, system, people):
    detector, valve = MqttDevice(system.mqtt_url, "GDJ1"), MqttDevice(system.mqtt_url, "SVJ1")
    detector.send(lel=3.0)
    alarms_before, (found_before, closed_before) = value_of("catering_gas.gas_alarms"), rate_of()

    operator = people("town_officer_here")
    operator.goto("/monitoring/alarms/")
    expect(operator.locator("#list-results")).to_be_visible()
    detector.send(lel=26.0)
    row = operator.locator("#list-results a", has_text="燃气泄漏报警").first
    expect(row).to_be_visible(timeout=LIVE_MS)  # without a reload

    wait_for(lambda: valve.heard)  # the valve is told to close
    assert valve.heard[0][1]["valve"] == "closed"
    alarm = Alarm.objects.get(rule="catering_gas.gas_alarm")

    row.click()
    operator.wait_for_url("**/monitoring/alarms/*-*/")
    operator.click("#do-acknowledge")
    operator.select_option("select[name=person]", label=wait_for(lambda: _option(operator, "grid_worker")))
    operator.click("#do-assign")
    expect(operator.get_by_text("已派grid_worker").first).to_be_visible()

    worker = people("grid_worker", PHONE)
    task = worker.locator("main a", has_text="老街饭店").first
    expect(task).to_be_visible()
    worker.goto(task.get_attribute("href"))
    unfold(worker, "我已到场")
    worker.set_input_files("input[name=photos]", [photo("green")])
    worker.click("#do-arrive")
    expect(worker.get_by_text("到达现场").first).to_be_visible()
    unfold(worker, "转为隐患")
    worker.fill("input[name=title]", "软管老化漏气")
    worker.click("#do-hazard")
    hazard = wait_for(lambda: Hazard.objects.filter(title="软管老化漏气").first())
    unfold(worker, "判定原因")
    worker.check("input[name=cause][value=real]")
    worker.click("#do-cause")
    wait_for(lambda: Alarm.objects.get(pk=alarm.pk).cause == "real")

    _rectify_and_verify(hazard, people)
    hazard.refresh_from_db()
    assert hazard.state == "accepted"
    assert rate_of() == (found_before + 1, closed_before + 1)

    detector.send(lel=2.0)
    wait_for(lambda: _later(detector, alarm), 90)
    operator.goto(f"/monitoring/alarms/{alarm.pk}/")
    operator.click("#do-close")
    wait_for(lambda: Alarm.objects.get(pk=alarm.pk).state == "closed")
    assert value_of("catering_gas.gas_alarms") == alarms_before + 1

    operator.goto(f"/monitoring/alarms/{alarm.pk}/")
    timeline = operator.locator("[aria-label=时间线], .timeline-list").first
    for told in (
        "报警已确认",
        "已派grid_worker前往现场",
        "到达现场",
        "原因判定：真实报警",
        "读数恢复正常",
        "报警已关闭",
    ):
        expect(timeline.get_by_text(told).first).to_be_visible()
    operator.goto(hazard.get_absolute_url())
    expect(operator.get_by_text("现场复核合格").first).to_be_visible()
    detector.close()
    valve.close()


def unfold(page: Page, heading: str) -> Locator:
    """Open a folded part as a person does, by its heading: from then on the live feed leaves it alone.

    The feed first brings a page that was just opened up to date; a person needs longer than that to begin.
    """
    page.locator("[data-feed-state].is-live, body:not(.feed-lost)").first.wait_for(state="attached")
    page.wait_for_timeout(2_500)
    part = page.locator("details", has=page.locator("summary", has_text=heading)).first
    if part.get_attribute("open") is None:
        part.locator("summary").click()
    return part


def _option(page: Page, name: str) -> str | None:
    return next((text for text in page.locator("select[name=person] option").all_inner_texts() if name in text), None)


def step(page: Page, code: str, **fields: object) -> None:
    """Open a step of the loop on the hazard's page, fill it in and send it."""
    box = page.locator(f"#step-{code}")
    box.evaluate("d => d.open = true")
    for name, value in fields.items():
        field = box.locator(f"[name={code}-{name}]")
        if isinstance(value, dict):
            field.set_input_files([value])
        elif field.first.get_attribute("type") == "radio":
            box.locator(f"[name={code}-{name}][value={value}]").check()
        else:
            field.fill(str(value))
    box.locator("button.btn").last.click()


def _rectify_and_verify(hazard: Hazard, people) -> None:
    """The town grades and assigns, the enterprise plans and rectifies, another officer of the town verifies."""
    town = people("town_officer_here")
    town.goto(hazard.get_absolute_url())
    step(town, "grade", severity="general", criterion_code="gas/hose", legal_basis="安全生产法 第三十六条")
    expect(town.locator("#step-assign")).to_have_count(1)
    step(town, "assign", rectifier="enterprise_safety_here")
    wait_for(lambda: Hazard.objects.get(pk=hazard.pk).rectifier_id)

    enterprise = people("enterprise_safety_here", PHONE)
    enterprise.goto(hazard.get_absolute_url())
    step(enterprise, "plan", measures="更换不锈钢波纹软管并做泄漏测试")
    wait_for(lambda: Hazard.objects.get(pk=hazard.pk).state == "rectifying")
    enterprise.goto(hazard.get_absolute_url())
    step(enterprise, "submit", before=photo("red"), after=photo("blue"), note="已更换软管")
    wait_for(lambda: Hazard.objects.get(pk=hazard.pk).state == "rectified_pending_check")
    enterprise.goto(hazard.get_absolute_url())
    assert enterprise.locator("#step-accept").count() == 0  # who rectified does not verify

    other = people("town_officer_2_here")
    other.goto(hazard.get_absolute_url())
    step(other, "accept", note="现场复核合格")
    wait_for(lambda: Hazard.objects.get(pk=hazard.pk).state == "accepted")


CHINA = tz(timedelta(hours=8))
SOURCE, CENTRE = "0a0b0c0d0e0f", "000000000001"


def test_a_fire_terminal_reports_over_its_own_protocol_and_the_centre_handles_it(city_with_people, system, people):
    p = city_with_people
    centre = p.organisations["fire-centre"]
    site = Subject.objects.create(
        type="smart_fire.site",
        programme="smart_fire",
        key="FIRE1",
        name="新华书城",
        division=p.grid,
        viewers=[centre.pk],
        lon=119.56,
        lat=32.01,
        address="人民路9号",
    )
    now = timezone.now()
    sender = register_device(
        subject=site,
        model="smart_fire.transmission_device",
        key=SOURCE,
        name="用传",
        by=None,
        at=now,
        channels=["status"],
    )
    register_device(
        subject=site,
        model="smart_fire.smoke_detector",
        key=f"{SOURCE}-007",
        name="三层感烟",
        by=None,
        at=now,
        channels=["sys1.40.7.status"],
        parent=sender,
    )
    operator = people("service_centre_operator")
    operator.goto("/monitoring/alarms/")
    with socket.create_connection(("127.0.0.1", system.ports()["gb26875"]), timeout=10) as wire:
        wire.sendall(_component_status(1, status=1))  # normal: the device is heard
        assert _confirmed(wire, 1)
        wire.sendall(_component_status(2, status=0b11))  # fire
        assert _confirmed(wire, 2)
        row = operator.locator("#list-results tr, #list-results li", has_text="新华书城").first
        expect(row).to_be_visible(timeout=LIVE_MS)
        alarm = Alarm.objects.filter(subject=site, measure="fire_status").get()
        operator.goto(f"/monitoring/alarms/{alarm.pk}/")
        operator.click("#do-acknowledge")
        wait_for(lambda: Alarm.objects.get(pk=alarm.pk).state == "acknowledged")
        box = unfold(operator, "判定原因")
        box.locator("input[name=cause][value=false_alarm]").check()
        box.locator("textarea[name=note]").fill("施工扬尘")
        operator.click("#do-cause")
        wait_for(lambda: Alarm.objects.get(pk=alarm.pk).state == "judged")
        wire.sendall(_component_status(3, status=1))
        assert _confirmed(wire, 3)
        wait_for(lambda: Alarm.objects.get(pk=alarm.pk).cleared_at)
    operator.goto(f"/monitoring/alarms/{alarm.pk}/")
    operator.click("#do-close")
    wait_for(lambda: Alarm.objects.get(pk=alarm.pk).state == "closed")


def _component_status(serial: int, *, status: int) -> bytes:
    """Type 2: the smoke detector at address 7 of the fire alarm system (type 1)."""
    now = int(time.time() * 1000)
    one = {
        "sys_type": 1,
        "sys_addr": 1,
        "comp_type": 40,
        "comp_addr": 7,
        "status": status,
        "desc": "三层走廊",
        "time": datetime.now(CHINA).replace(tzinfo=None, microsecond=0).isoformat(),
    }
    return gb26875.send(SOURCE, CENTRE, serial, 2, [one], now)


def _confirmed(wire: socket.socket, serial: int) -> bool:
    """Whether the centre confirms this serial within the socket's time-out."""
    answer = wire.recv(1024)
    return gb26875.decode(answer)["cmd"] == 3 and gb26875.decode(answer)["serial"] == serial
