"""URLs of brokers."""

import ssl
from pathlib import Path

import pytest

from hasten._core.errors import ConfigurationError
from hasten.events import Bus
from hasten.events.brokers._amqp_url import place_of


def test_short_and_long() -> None:
    """What a URL leaves out is RabbitMQ's default; what it says is decoded."""
    place = place_of("amqp://localhost")
    assert (place.hosts, place.vhost, place.name) == ((("localhost", 5672),), "/", "amqp localhost:5672")
    assert (place.user, place.password, place.heartbeat, place.exchange) == ("guest", "guest", 5.0, "hasten")
    place = place_of("amqp://m%40a:p%2Fw@a,b:5673,[::1]:5674/shop%2Feu?heartbeat=7&exchange=shop")
    assert place.hosts == (("a", 5672), ("b", 5673), ("::1", 5674))
    assert (place.vhost, place.user, place.password) == ("shop/eu", "m@a", "p/w")
    assert (place.heartbeat, place.exchange, place.tls) == (7.0, "shop", None)
    assert place.name == "amqp a:5672,b:5673,[::1]:5674/shop/eu"
    assert place_of("amqp://h/").vhost == place_of("amqp://h/%2F").vhost == "/"
    assert place_of("amqp://u:@h").password == ""


def test_tls() -> None:
    """amqps:// has a port of its own, and checks certificate and name."""
    place = place_of("amqps://h")
    assert place.hosts == (("h", 5671),)
    assert place.tls is not None
    assert place.tls.check_hostname
    assert place.tls.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "/vhost",
        ":port",
        "h:0x1",
        "h:99999",
        "h,",
        "h/a/b",
        "h/#secret",
        "h?heartbeat=0",
        "h?heartbeat=1.5",
        "h?heartbeat=soon",
        "h?heartbeat=nan",
        "h?heartbeat=601",
        "h?exchange=",
        "h?exchange=a:b",
        "h?exchange=amq.topic",
        "h?exchange=" + "x" * 25,
        "h?verify=no",
        "h?heartbeat",
        "h?cafile=/ca.pem",
        "h/" + "v" * 256,
    ],
)
def test_wrong(rest: str) -> None:
    """What cannot be meant is refused, without the password."""
    with pytest.raises(ConfigurationError) as raised:
        Bus(f"amqp://mia:se%2Fcret@{rest}")
    text = str(raised.value)
    assert "cret" not in text
    assert raised.value.__cause__ is None or "cret" not in str(raised.value.__cause__)


@pytest.mark.parametrize("password", ["se/cret", "se?cret", "se#cret", "se[cret", "se@cret/", "12]34"])
def test_a_password_that_is_not_encoded(password: str) -> None:
    """A password that makes the URL another one is in no message."""
    with pytest.raises(ConfigurationError) as raised:
        Bus(f"amqp://mia:{password}@h:5672/")
    text = str(raised.value) + str(raised.value.__cause__)
    assert "cret" not in text
    assert "34" not in text


def test_files(tmp_path: Path) -> None:
    """Files of TLS that are not there, or are none, are named."""
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    for rest in (f"cafile={tmp_path}/none.pem", f"cafile={wrong}", f"certfile={wrong}", f"keyfile={wrong}"):
        with pytest.raises(ConfigurationError, match=r"pem|keyfile"):
            place_of(f"amqps://mia:secret@h?{rest}")
