"""API keys: who may make and revoke them, what they reach, and that their text is told once."""

import json
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from zhenan.domains.monitoring import keys
from zhenan.domains.monitoring.devices import register_device
from zhenan.domains.monitoring.errors import KeyRunOut, WrongLimit
from zhenan.domains.monitoring.key_pages import KeyList
from zhenan.domains.monitoring.models import ApiKey
from zhenan.domains.monitoring.tests.conftest import NOON
from zhenan.domains.register.models import Subject
from zhenan.kernel.access.guards import NotAllowed
from zhenan.kernel.lists.contract import check_list_page
from zhenan.telemetry.gateway.keys import Keys, digest_of

pytestmark = pytest.mark.django_db


def make(division, by=None, **more):
    given = {"name": "cloud", "readings_per_s": 10, "burst": 100, "at": timezone.now(), **more}
    return keys.make_key(division=division, by=by, **given)


def test_only_the_hash_of_a_key_is_kept_and_the_gateway_knows_it_by_its_text(personas, packs):
    key, token = make(personas.here)
    assert token.startswith(key.prefix)
    assert len(token) > 40
    assert bytes(key.digest) == digest_of(token)
    assert token not in str(list(ApiKey.objects.values()))
    known = Keys()
    known.load(keys.gateway_keys())
    assert known.find(token, 0).id == key.pk
    assert known.find(token + "x", 0) is None


def test_a_key_reaches_the_devices_of_its_division_or_of_one_organisation_there(personas, packs, caterer, detector):
    other = Subject.objects.create(type="catering_gas.caterer", programme="catering_gas", key="C2", name="n",
                                   division=personas.grid)  # fmt: skip
    far = Subject.objects.create(type="catering_gas.caterer", programme="catering_gas", key="C3", name="n",
                                 division=personas.elsewhere)  # fmt: skip
    near, distant = (
        register_device(subject=at, model="catering_gas.gas_detector", key=at.key, name="n", by=None, at=NOON)
        for at in (other, far)
    )
    make(personas.here, name="division")
    make(personas.here, name="organisation", organisation=caterer.organisation)
    found = {key.name: key.devices for key in keys.gateway_keys()}
    assert found == {"division": {detector.pk, near.pk}, "organisation": {detector.pk}}
    assert distant.pk not in found["division"]


def test_a_revoked_key_and_one_that_has_run_out_are_good_no_more_and_the_stamp_moves(personas, packs):
    stamps = [keys.keys_stamp()]
    key, _ = make(personas.here)
    stamps.append(keys.keys_stamp())
    keys.revoke_key(key.pk, by=None, at=timezone.now())
    keys.revoke_key(key.pk, by=None, at=timezone.now() + timedelta(days=1))
    stamps.append(keys.keys_stamp())
    old, _ = make(personas.here, expires_at=timezone.now() + timedelta(hours=1))
    assert [k.id for k in keys.gateway_keys()] == [old.pk]
    ApiKey.objects.filter(pk=old.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    stamps.append(keys.keys_stamp())
    assert keys.gateway_keys() == []
    assert len(set(stamps)) == 4


def test_limits_and_times_that_make_no_sense_are_refused(personas, packs):
    for wrong in ({"readings_per_s": 0}, {"burst": 9}, {"burst": keys.MOST + 1}):
        with pytest.raises(WrongLimit):
            make(personas.here, **wrong)
    with pytest.raises(KeyRunOut):
        make(personas.here, expires_at=timezone.now())
    assert not ApiKey.objects.exists()


def test_only_those_who_hold_the_capability_make_and_revoke_keys(personas, packs):
    key, _ = make(personas.here, by=personas["city_officer"])
    for name in ("gas_department", "district_officer_here", "grid_worker", "no_post"):
        with pytest.raises(NotAllowed):
            make(personas.here, by=personas[name])
        with pytest.raises(NotAllowed):
            keys.revoke_key(key.pk, by=personas[name], at=timezone.now())
    assert ApiKey.objects.good(timezone.now()).count() == 1


def test_the_last_use_only_moves_forward(personas, packs):
    key, _ = make(personas.here)
    keys.record_use({key.pk: 2_000_000_000_000})
    keys.record_use({key.pk: 1_000_000_000_000, 999: 5})
    key.refresh_from_db()
    assert int(key.last_used_at.timestamp() * 1000) == 2_000_000_000_000


def test_the_page_shows_a_new_key_once_and_the_list_never(client, personas, packs):
    client.force_login(personas["city_officer"])
    given = {"name": "maker", "division": personas.here.pk, "readings_per_s": 5, "burst": 50, "organisation": ""}
    answer = client.post(reverse("monitoring:new_key"), given)
    key = ApiKey.objects.get()
    token = answer.context["token"]
    assert digest_of(token) == bytes(key.digest)
    assert token in answer.content.decode()
    assert answer["Cache-Control"] == "no-store"
    page = client.get(reverse("monitoring:keys")).content.decode()
    assert "maker" in page
    assert token not in page
    wrong = client.post(reverse("monitoring:new_key"), given | {"organisation": "nobody"})
    assert wrong.status_code == 422


def test_the_list_page_keeps_its_contract(client, personas, packs):
    def some(count):
        for n in range(count):
            make(personas.here, name=f"key {n}")

    people = ("city_officer", "administrator", "gas_department", "grid_worker", "no_post")
    check_list_page(client, KeyList, reverse("monitoring:keys"), users=[personas[name] for name in people], make=some)


def test_keys_are_made_listed_and_revoked_over_the_api(client, personas, packs):
    client.force_login(personas["city_officer"])
    body = {"name": "maker", "division": personas.here.code, "readings_per_s": 5, "burst": 50}

    def post(path, data):
        return client.post(path, json.dumps(data), content_type="application/json")

    made = post("/api/monitoring/keys", body)
    assert made.status_code == 201
    assert digest_of(made.json()["token"]) == bytes(ApiKey.objects.get().digest)
    assert post("/api/monitoring/keys", body | {"burst": 1}).json()["code"] == "key.wrong_limit"
    assert post("/api/monitoring/keys", body | {"division": "nowhere"}).status_code == 422
    assert "token" not in client.get("/api/monitoring/keys").json()[0]
    revoked = post(f"/api/monitoring/keys/{made.json()['id']}/revoke", {}).json()
    assert revoked["revoked_at"]
    client.force_login(personas["grid_worker"])
    assert client.get("/api/monitoring/keys").status_code == 403
