"""Downloads: where they may go, and how they end. The web server is real, on the loopback that only tests reach."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address

import pytest

from content_orchestration.core.media.addresses import checked_addresses, is_public, parse_target
from content_orchestration.core.media.download import MOST_REDIRECTS, Downloader
from content_orchestration.core.media.limits import Refused
from content_orchestration.core.media.model import SourceUnavailable
from content_orchestration.core.media.network import Deadline, PinnedBackend, resolve
from content_orchestration_tests.media_world import WebServer, loopback_too, respond, web_server

LIMIT = 100_000


@pytest.fixture
def web() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


def fetch(url: str, downloader: Downloader | None = None, limit: int = LIMIT) -> bytes:
    with (downloader or Downloader(total_seconds=20, permits=loopback_too)).open(url, limit) as chunks:
        return b"".join(chunks)


PUBLIC = ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::808:808"]
INSIDE = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255",
    "192.168.0.1", "169.254.169.254", "169.254.0.1", "100.64.0.1", "100.100.100.200", "192.0.0.192", "192.0.2.1",
    "198.18.0.1", "198.51.100.1", "203.0.113.1", "192.88.99.1", "168.63.129.16", "224.0.0.1",
    "239.255.255.255", "240.0.0.1",
    "255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254",
    "ff02::1",
    "2001:db8::1", "2001::1", "2001:0:53aa:64c::1", "2002:7f00:1::", "2002:a9fe:a9fe::", "3fff::1", "5f00::1", "100::1",
    "4000::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_reached(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", INSIDE)
def test_inside_addresses_may_not(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", INSIDE)
def test_a_name_that_leads_inside_is_never_connected_to(address: str) -> None:
    downloader = Downloader(total_seconds=5, resolver=lambda host, port: [address])
    with pytest.raises(Refused) as caught:
        fetch("http://files.example.com/a.jpg", downloader)
    assert caught.value.code == "address_private"


def test_a_name_with_an_inside_address_beside_a_public_one_is_refused_whole() -> None:
    with pytest.raises(Refused, match=r"10\.0\.0\.1"):
        checked_addresses("two.example.com", ["8.8.8.8", "10.0.0.1"], is_public)
    with pytest.raises(Refused, match="fe80::1%eth0"):
        checked_addresses("zone.example.com", ["fe80::1%eth0"], lambda address: True)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ftp://example.com/a", "url_scheme"),
        ("file:///etc/passwd", "url_scheme"),
        ("gopher://example.com/", "url_scheme"),
        ("s3://bucket/key", "url_scheme"),
        ("//example.com/a", "url_scheme"),
        ("data:image/png;base64,AAAA", "url_scheme"),
        ("", "url_scheme"),
        ("http://user:secret@example.com/", "url_credentials"),
        ("http://user@example.com/", "url_credentials"),
        ("http://@127.0.0.1/", "url_credentials"),
        ("http://example.com\\@127.0.0.1/", "url_malformed"),
        ("http://exa mple.com/", "url_malformed"),
        ("http://example.com/\r\nHost: inside", "url_malformed"),
        ("http://example.com/\tx", "url_malformed"),
        ("http://example.com/" + "a" * 9000, "url_malformed"),
        ("http://example.com:99999/", "url_malformed"),
        ("http://[::1", "url_malformed"),
        ("http://example.com:22/", "url_port"),
        ("http://example.com:0/", "url_port"),
        ("https://example.com:25/", "url_port"),
        ("http:///path", "url_host"),
        ("http://./", "url_host"),
        ("http://2130706433/", "url_host"),
        ("http://0x7f000001/", "url_host"),
        ("http://0x7f.1/", "url_host"),
        ("http://0177.0.0.1/", "url_host"),
        ("http://127.1/", "url_host"),
        ("http://127.0.0.1.1/", "url_host"),
        ("http://127.0.0.0x1/", "url_host"),
        ("http://a..b/", "url_host"),
        ("http://-a.example/", "url_host"),
        ("http://" + "a" * 64 + ".example/", "url_host"),
        ("http://" + ".".join(["a" * 60] * 5) + "/", "url_host"),
        ("http://[::ffff:zz]/", "url_malformed"),
        ("http://[fe80::1%25eth0]/", "url_host"),
    ],
)
def test_what_is_no_plain_address_is_refused_before_any_look_up(url: str, code: str) -> None:
    def never(host: str, port: int) -> list[str]:
        raise AssertionError(f"{host} was looked up")

    with pytest.raises(Refused) as caught:
        fetch(url, Downloader(resolver=never))
    assert caught.value.code == code
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "becomes"),
    [
        ("LocalHost", "localhost"),
        ("localhost.", "localhost"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("[::1]", "::1"),
        ("[::ffff:127.0.0.1]", "::ffff:7f00:1"),
        ("\uff11\uff12\uff17.\uff10.\uff10.\uff11", "127.0.0.1"),
        ("127\u30020\u30020\u30021", "127.0.0.1"),
        ("\u24dbocalhost", "localhost"),
        ("\u246027.0.0.1", "127.0.0.1"),
    ],
)
def test_hosts_are_read_as_a_browser_reads_them_and_still_lead_nowhere_inside(host: str, becomes: str) -> None:
    target = parse_target(f"http://{host}:8080/a")
    # What the string says, not how it is spelled: IPv6 texts have several forms.
    assert target.host in (becomes, "::ffff:127.0.0.1" if "::ffff" in becomes else becomes)
    with pytest.raises(Refused) as caught:
        fetch(f"http://{host}:8080/a", Downloader(total_seconds=5))
    assert caught.value.code == "address_private"


def test_an_idn_is_asked_for_in_ascii_and_paths_travel_encoded() -> None:
    target = parse_target("https://bücher.example/straße?q=ü#part")
    assert (target.host, target.port, target.path) == ("xn--bcher-kva.example", 443, "/stra%C3%9Fe?q=%C3%BC")
    assert target.host_header == "xn--bcher-kva.example"
    assert parse_target("http://[2606:4700::1]:8080").host_header == "[2606:4700::1]:8080"
    assert parse_target("http://example.com?x=1").path == "/?x=1"


def test_the_checked_address_is_the_one_connected_to(web: WebServer) -> None:
    """A name that leads elsewhere the second time (rebinding) is looked up once a hop."""
    looked_up: list[str] = []

    def rebinding(host: str, port: int) -> list[str]:
        looked_up.append(host)
        return ["127.0.0.1"] if len(looked_up) == 1 else ["169.254.169.254"]

    web.serve("/a", b"bytes")
    downloader = Downloader(total_seconds=10, permits=loopback_too, resolver=rebinding)
    assert fetch(web.url("/a", "files.example.com"), downloader) == b"bytes"
    assert looked_up == ["files.example.com"]
    assert f"Host: files.example.com:{web.port}" in web.requests[0]
    with pytest.raises(Refused) as caught:
        fetch(web.url("/a", "files.example.com"), downloader)
    assert caught.value.code == "address_private"
    assert web.hits["/a"] == 1


def test_each_redirect_is_checked_anew(web: WebServer) -> None:
    names = {"public.example": ["127.0.0.1"], "inside.example": ["10.0.0.7"]}
    downloader = Downloader(total_seconds=10, permits=loopback_too, resolver=lambda host, port: names[host])
    for number, location in enumerate(
        [
            f"http://inside.example:{web.port}/x", "http://10.0.0.7/", "http://169.254.169.254/latest/meta-data/",
            "http://[::ffff:10.0.0.7]/", "//inside.example/x",
        ]
    ):  # fmt: skip
        names |= {"10.0.0.7": ["10.0.0.7"], "169.254.169.254": ["169.254.169.254"]}
        names |= {"::ffff:a00:7": ["::ffff:10.0.0.7"], "::ffff:10.0.0.7": ["::ffff:10.0.0.7"]}
        web.serve(f"/{number}", lambda client, to=location: client.sendall(respond(302, Location=to)))
        with pytest.raises(Refused) as caught:
            fetch(web.url(f"/{number}", "public.example"), downloader)
        assert caught.value.code == "address_private", location
    for path, location, code in (
        ("/ftp", "ftp://public.example/", "url_scheme"),
        ("/file", "file:///etc/passwd", "url_scheme"),
        ("/nowhere", "", "redirect_nowhere"),
        ("/user", "http://u:p@public.example/", "url_credentials"),
        ("/decimal", "http://2130706433/", "url_host"),
    ):
        web.serve(path, lambda client, to=location: client.sendall(respond(301, Location=to)))
        with pytest.raises(Refused) as caught:
            fetch(web.url(path, "public.example"), downloader)
        assert caught.value.code == code


def test_redirects_are_followed_and_bounded(web: WebServer) -> None:
    web.serve("/end", b"there")
    for n in range(MOST_REDIRECTS + 1):
        to = "/end" if n == 0 else f"/{n - 1}"
        web.serve(f"/{n}", lambda client, to=to: client.sendall(respond(307, Location=to)))
    assert fetch(web.url(f"/{MOST_REDIRECTS - 1}")) == b"there"
    with pytest.raises(Refused) as caught:
        fetch(web.url(f"/{MOST_REDIRECTS}"))
    assert caught.value.code == "redirect_loop"
    sent = "".join(web.requests).lower()
    assert "cookie" not in sent
    assert "authorization" not in sent


def slowly(body: bytes, pause: float, stop: threading.Event) -> Callable[[socket.socket], None]:
    def answer(client: socket.socket) -> None:
        for byte in body:
            client.sendall(bytes([byte]))
            if stop.wait(pause):
                return

    return answer


@pytest.mark.parametrize("where", ["header", "body"])
def test_a_server_that_drips_is_cut_off_at_the_deadline(web: WebServer, where: str) -> None:
    stop = threading.Event()
    whole = respond(200, b"x" * 500)
    dripping = whole if where == "header" else whole[-500:]
    head = b"" if where == "header" else whole[:-500]

    def answer(client: socket.socket) -> None:
        client.sendall(head)
        slowly(dripping, 0.05, stop)(client)

    began = time.monotonic()
    with pytest.raises(SourceUnavailable, match=r"longer than 0\.7 s|timed out"):
        fetch(web.serve("/slow", answer), Downloader(total_seconds=0.7, permits=loopback_too))
    assert time.monotonic() - began < 7
    stop.set()


def test_a_silent_server_and_a_slow_resolver_end_too(web: WebServer) -> None:
    stop = threading.Event()
    web.serve("/silent", lambda client: stop.wait(20) and None)
    with pytest.raises(SourceUnavailable):
        fetch(web.url("/silent"), Downloader(total_seconds=0.5, permits=loopback_too))
    stop.set()
    never = threading.Event()

    def hanging(host: str, port: int) -> list[str]:
        never.wait(10)
        return ["127.0.0.1"]

    with pytest.raises(SourceUnavailable, match="no answer in time"):
        fetch(web.url("/a"), Downloader(total_seconds=0.3, permits=loopback_too, resolver=hanging))
    never.set()
    with pytest.raises(SourceUnavailable, match="cannot be resolved"):
        fetch("http://nothing.invalid/", Downloader(total_seconds=5, resolver=_no_such_name))


def _no_such_name(host: str, port: int) -> list[str]:
    raise socket.gaierror("no such name")


@pytest.mark.parametrize(
    "answer",
    [
        respond(200, b"short", Content_Length="500"),
        respond(200, b"")[:20],
        b"",
        b"not http at all\r\n\r\n",
        b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
        b"HTTP/1.1 200 X\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\nhello12",
    ],
)
def test_lies_and_cuts_are_another_try(web: WebServer, answer: bytes) -> None:
    with pytest.raises(SourceUnavailable):
        fetch(web.serve("/cut", lambda client: client.sendall(answer)))


def test_more_bytes_than_announced_are_not_read(web: WebServer) -> None:
    url = web.serve("/more", lambda client: client.sendall(respond(200, b"hello and more", Content_Length="5")))
    assert fetch(url) == b"hello"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (respond(404, b"no"), "http_404"),
        (respond(403, b"no"), "http_403"),
        (respond(204, b""), "http_204"),
        (respond(206, b"part"), "http_206"),
        (respond(200, b"x", Content_Encoding="gzip"), "encoded"),
        (respond(200, b"x", Content_Length=str(LIMIT + 1)), "too_large"),
    ],
)
def test_what_is_refused_for_good(web: WebServer, answer: bytes, code: str) -> None:
    with pytest.raises(Refused) as caught:
        fetch(web.serve("/no", lambda client: client.sendall(answer)))
    assert caught.value.code == code


def test_a_busy_server_says_when_to_come_back(web: WebServer) -> None:
    for value, seconds in (("30", 30.0), ("999999999", 86400.0), ("soon", None)):
        web.serve("/busy", lambda client, v=value: client.sendall(respond(503, b"", Retry_After=v)))
        with pytest.raises(SourceUnavailable) as caught:
            fetch(web.url("/busy"))
        assert caught.value.retry_after == seconds


def test_the_next_address_is_tried_where_one_does_not_answer(web: WebServer) -> None:
    web.serve("/a", b"bytes")
    there = Downloader(total_seconds=10, permits=lambda a: True, resolver=lambda h, p: ["127.0.0.2", "127.0.0.1"])
    assert fetch(web.url("/a", "two.example"), there) == b"bytes"
    with pytest.raises(SourceUnavailable):
        fetch(
            f"http://none.example:{_free_port()}/",
            Downloader(total_seconds=5, permits=loopback_too, resolver=lambda h, p: ["127.0.0.1"]),
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_tls_is_checked_against_the_name_and_not_the_address(web: WebServer) -> None:
    """Our server speaks no TLS: the handshake fails on the pinned connection, and nothing falls back."""
    with pytest.raises(SourceUnavailable):
        fetch(f"https://127.0.0.1:{web.port}/a", Downloader(total_seconds=5, permits=loopback_too))
    assert ssl.create_default_context().check_hostname


def test_no_socket_of_this_machine_is_a_source() -> None:
    backend = PinnedBackend(resolve, is_public, Deadline(5))
    with pytest.raises(Exception, match="no download comes from a socket"):
        backend.connect_unix_socket("/run/x.sock")
    assert "127.0.0.1" in resolve("127.0.0.1", 80)
