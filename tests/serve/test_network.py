"""Keys, --listen, the address for a phone."""

import pytest

from kaiwa.core.errors import UserError
from kaiwa.serve.http.network import Access, address, fresh_key, names, qr_code

KEY = "a-key-of-more-than-sixteen"


def test_listening_without_a_key_is_refused_and_one_is_given() -> None:
    with pytest.raises(UserError, match=r"--listen --api-key (kaiwa-\S+)") as found:
        Access(listen=True)
    given = str(found.value).split()[-1]
    assert Access(listen=True, api_key=given).api_key == given


@pytest.mark.parametrize(
    "key", ["short", "with a space in it ...", "日本語の鍵ですから使えません日本語", "tab\tin-the-middle-of-it"]
)
def test_weak_keys_are_refused(key: str) -> None:
    with pytest.raises(UserError, match="--api-key"):
        Access(api_key=key)


def test_the_admin_key_is_another_one() -> None:
    with pytest.raises(UserError, match="the same"):
        Access(api_key=KEY, admin_key=KEY)
    with pytest.raises(UserError, match="protects nothing"):
        Access(admin_key=KEY)
    assert Access().with_admin_key().admin_key == ""
    first, second = (Access(api_key=KEY).with_admin_key().admin_key for _ in range(2))
    assert first != second
    assert len({fresh_key() for _ in range(20)}) == 20


def test_the_way_for_a_phone() -> None:
    parts = address().split(".")
    assert len(parts) == 4
    assert all(part.isdigit() for part in parts)
    assert names()[-1].endswith(".local")
    picture = qr_code(f"http://192.168.0.7:7860/?key={KEY}").splitlines()
    assert len(picture) > 15
    assert len({len(line) for line in picture}) == 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"hosts": ("http://chat.example.org",)}, "--allow-host"),
        ({"hosts": ("chat.example.org:443",)}, "--allow-host"),
        ({"origins": ("app.example.org",)}, "--allow-origin"),
        ({"origins": ("https://app.example.org/",)}, "--allow-origin"),
        ({"origins": ("*",)}, "needs --api-key"),
        ({"root_path": "kaiwa"}, "--root-path"),
        ({"root_path": "/kaiwa/"}, "--root-path"),
        ({"proxies": ("nginx",)}, "--trust-proxy"),
    ],
)
def test_ways_around_the_server_that_cannot_be(fields: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        Access(**fields)


def test_ways_around_the_server() -> None:
    access = Access(
        api_key=KEY,
        hosts=("chat.example.org", "[::1]", "box_1"),
        origins=("*", "https://app.example.org:8443", "chrome-extension://abc"),
        root_path="/a/kaiwa",
        proxies=("127.0.0.1", "10.0.0.0/8", "::1"),
    ).with_admin_key()
    assert access.hosts[0] == "chat.example.org"
    assert access.admin_key
