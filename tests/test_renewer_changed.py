"""The renewer after a change of the configuration: what was got before is of use, and is no reason to wait either."""

from __future__ import annotations

import pytest
from support_acme import BASE, json_response
from support_renewer import DAY, World, acme, host, proofs

from lockgate.certs.acme.machine import Fetch
from lockgate.certs.acme.messages import Response
from lockgate.server.config import Acme
from lockgate.server.values import HttpsURL, WebURL

__all__ = ["proofs"]

OTHER = Acme(directory=HttpsURL(f"{BASE}/other"))


def with_two_cas(world: World) -> World:
    """Its CA has a second directory, as those have that let people try things out (staging)."""

    def directory(fetch: Fetch, now: float) -> Response | None:
        return json_response(world.ca._directory()) if fetch.url == OTHER.directory else None

    world.ca.faults.append(directory)
    return world


def test_another_ca_is_asked_for_a_certificate_of_its_own(tmp_path):
    world = with_two_cas(World(tmp_path))
    world.run(10)
    before = world.version()
    world.hosts = (host("a.test", "b.test", rules=OTHER),)
    world.down = True
    world.restart()
    world.run(600)
    assert world.version() == before  # the old one stays
    assert "the old one stays" in world.said[-1]
    world.down = False
    world.run(DAY)
    assert world.version() != before
    assert ("GET", "/other") in world.ca.log
    orders = len(world.orders_at)
    for _ in range(5):
        world.restart()
        world.run(DAY)
    assert len(world.orders_at) == orders


def test_what_failed_at_another_ca_is_no_reason_to_wait(tmp_path):
    world = World(tmp_path)
    with_two_cas(world).down = True
    world.run(DAY)
    world.hosts = (host("a.test", "b.test", rules=OTHER),)
    world.down = False
    world.restart()
    world.run(60)
    assert world.version() is not None


def test_another_ca_that_fails_makes_no_storm(tmp_path):
    world = with_two_cas(World(tmp_path))
    world.run(10)
    world.hosts = (host("a.test", "b.test", rules=OTHER),)
    world.ca.fails = {"tls-alpn-01", "http-01"}
    for _ in range(60):
        world.restart()
        world.run(60)
    assert len(world.orders_at) <= 1 + 6


def test_two_machines_with_different_cas_do_not_take_turns(tmp_path):
    world = with_two_cas(World(tmp_path))
    world.run(10)
    one = world.renewer
    world.hosts = (host("a.test", "b.test", rules=OTHER),)
    two = world.restart()
    for _ in range(20):
        for world.renewer in (one, two):
            world.run(DAY)
    assert len(world.orders_at) == 2


def test_where_it_is_not_known_who_gave_it_a_certificate_stays(tmp_path):
    world = with_two_cas(World(tmp_path))
    world.run(10)
    file = world.state.certificate_folder("a.test") / "renewal.json"
    file.write_text(file.read_text().replace('"directory"', '"before"'))
    world.hosts = (host("a.test", "b.test", rules=OTHER),)
    world.restart()
    world.run(30 * DAY)
    assert len(world.orders_at) == 1


@pytest.mark.parametrize("names", [("b.test", "a.test"), ("b.test",)])
def test_names_in_another_order_or_fewer_of_them_need_no_other_certificate(tmp_path, names):
    world = World(tmp_path)
    world.run(10)
    before = world.state.certificate(["a.test"])
    world.hosts = (host(*names),)
    world.down = True
    world.restart()
    after = world.state.certificate(names)
    assert before is not None
    assert after is not None
    assert after.certificate == before.certificate
    world.down = False
    world.run(30 * DAY)
    assert len(world.orders_at) == 1
    world.run(40 * DAY)  # it is renewed in its time
    assert len(world.orders_at) == 2
    assert world.version("b.test") != after.version


def test_a_name_in_front_of_the_others_takes_nothing_from_them(tmp_path):
    world = World(tmp_path)
    world.run(10)
    world.hosts = (host("c.test", "a.test", "b.test"),)
    world.down = True
    world.restart()
    world.run(600)
    before = world.state.certificate(["c.test"])
    assert before is not None
    assert before.certificate.names == ("a.test", "b.test")
    assert "the old one stays" in world.said[-1]
    world.down = False
    world.run(DAY)
    after = world.state.certificate(["c.test"])
    assert after is not None
    assert after.certificate.names == ("c.test", "a.test", "b.test")


def test_of_several_certificates_that_for_most_of_the_names_goes_on(tmp_path):
    world = World(tmp_path, hosts=(host("a.test"), host("b.test", "c.test")))
    world.run(10)
    world.hosts = (host("c.test", "a.test", "b.test"),)
    world.down = True
    world.restart()
    found = world.state.certificate(["c.test"])
    assert found is not None
    assert found.certificate.names == ("b.test", "c.test")


def test_one_that_has_expired_or_is_for_other_names_does_not_go_on(tmp_path):
    world = World(tmp_path)
    world.run(10)
    world.down = True
    world.hosts = (host("c.test"),)
    world.restart()
    assert world.version("c.test") is None
    world.hosts = (host("b.test"),)
    world.sleep(100 * DAY)
    world.restart()
    assert world.version("b.test") is None


def test_beside_a_host_for_every_name(tmp_path):
    world = World(tmp_path)
    world.run(10)
    world.allowed = lambda name: True
    every = host(rules=Acme(directory=acme().directory, on_demand=True, ask=WebURL("http://127.0.0.1:9/")))
    world.hosts = (host("b.test", "a.test"), every)
    world.restart()
    assert world.version("b.test") is not None
    world.run(70 * DAY)
    assert len(world.orders_at) == 2  # nobody needs one for a.test alone
    assert world.asked == []
