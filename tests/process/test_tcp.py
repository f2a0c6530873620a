"""A daemon on TCP: it listens on loopback alone, and every channel of both doors is behind CurveZMQ."""

import json
import os
import socket
from typing import Any

import psutil
import pytest
import zmq
from zmq.utils.monitor import recv_monitor_message

from daemons import Done, Place, eventually
from samovar import wire

PORTS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")


@pytest.fixture
def over_tcp(place: Place) -> Place:
    """A home whose daemon is up on TCP."""
    place.up("--tcp")
    return place


def test_every_port_of_both_doors_is_bound_to_loopback_and_there_is_no_other(over_tcp: Place) -> None:
    info = over_tcp.info
    assert (info["transport"], info["ip"]) == ("tcp", "127.0.0.1")
    ops = info["ops"].removeprefix("tcp://127.0.0.1:")
    listening = {
        connection.laddr
        for connection in psutil.Process(over_tcp.pid).net_connections("all")
        if connection.status == psutil.CONN_LISTEN
    }
    assert {address.ip for address in listening} == {"127.0.0.1"}
    told = {int(ops), *(info[port] for port in PORTS)}
    assert told <= {address.port for address in listening}
    assert [name for name in os.listdir(over_tcp.run_folder) if (over_tcp.run_folder / name).is_socket()] == []


def test_the_connection_file_carries_the_keys_and_is_the_users_alone(over_tcp: Place) -> None:
    info = over_tcp.info
    assert len(info["curve_publickey"]) == len(info["curve_secretkey"]) == 40
    assert over_tcp.connection_file.stat().st_mode & 0o777 == 0o600


def test_a_restart_makes_new_keys(over_tcp: Place) -> None:
    before = over_tcp.info
    over_tcp.ok("restart", "--tcp")
    assert over_tcp.info["curve_publickey"] != before["curve_publickey"]
    assert over_tcp.ok("ping")


def test_ops_and_evaluation_work(over_tcp: Place) -> None:
    over_tcp.ok("spawn", "w1")
    assert over_tcp.ok("ask", "w1", "hello")
    assert over_tcp.ok("eval", "6 * 7") == "42\n"
    with over_tcp.client() as client:
        assert client.history("w1").total == 2


def test_jupyters_own_client_works_with_the_connection_file(over_tcp: Place) -> None:
    with over_tcp.jupyter() as jupyter:
        jupyter.wait_for_ready(timeout=60)
        reply = jupyter.execute_interactive("x = 6 * 7\nassert ping().pid", timeout=60, output_hook=lambda _: None)
        assert reply["content"]["status"] == "ok"
        assert jupyter.is_alive()


def test_down_ends_it_and_leaves_no_port_and_no_file(over_tcp: Place) -> None:
    over_tcp.down()
    over_tcp.wait_until_down()
    assert over_tcp.leavings() == []


# ---------------------------------------------------------------- who has not the keys


def doctor(place: Place, **changes: Any) -> None:
    """Changes the connection file."""
    place.connection_file.write_text(json.dumps({**place.info, **changes}))


def refused(done: Done) -> None:
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("error: ")
    assert done.err.endswith("[connection_refused]\n")
    assert "samovar restart" in done.err


@pytest.mark.parametrize("words", [("ping",), ("eval", "1")], ids=["an op", "an evaluation"])
def test_the_key_of_another_server_is_refused_in_a_sentence_with_exit_code_3(
    over_tcp: Place, words: tuple[str, ...]
) -> None:
    public, _ = zmq.curve_keypair()
    doctor(over_tcp, curve_publickey=public.decode())
    refused(over_tcp.run(*words))


def test_restart_helps_where_the_keys_are_lost_as_the_message_says(over_tcp: Place) -> None:
    first = over_tcp.pid
    public, _ = zmq.curve_keypair()
    doctor(over_tcp, curve_publickey=public.decode())
    over_tcp.ok("restart", "--tcp")
    assert over_tcp.daemons() == [over_tcp.pid]
    assert over_tcp.pid != first
    assert over_tcp.ok("ping")


@pytest.mark.parametrize("key", ["", "not a key", "x" * 40, None, 7], ids=repr)
def test_a_key_that_is_none_is_told_in_a_sentence(over_tcp: Place, key: Any) -> None:
    doctor(over_tcp, curve_publickey=key)
    done = over_tcp.run("ping")
    assert (done.code, done.out) == (3, "")
    assert "Traceback" not in done.err
    assert done.err.count("\n") == 1


def test_a_client_that_speaks_no_curve_gets_nothing_of_the_ops_door(over_tcp: Place) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        with dealer.get_monitor_socket(zmq.EVENT_ALL) as monitor:
            dealer.connect(over_tcp.info["ops"])
            dealer.send_multipart([wire.MAGIC, wire.CALL, b"1", b'{"op": "ping"}'])
            seen = []
            while zmq.EVENT_DISCONNECTED not in seen:
                assert monitor.poll(60_000), seen
                seen.append(recv_monitor_message(monitor)["event"])
            assert zmq.EVENT_HANDSHAKE_SUCCEEDED not in seen
            assert not dealer.poll(0)
            dealer.disable_monitor()
    assert over_tcp.ok("ping")


def test_a_jupyter_client_without_the_curve_keys_gets_nothing(over_tcp: Place) -> None:
    bare = {name: value for name, value in over_tcp.info.items() if not name.startswith("curve_")}
    marker = over_tcp.around / "marker"
    with over_tcp.jupyter(bare) as jupyter:
        jupyter.execute(f"open({str(marker)!r}, 'w')")
        with pytest.raises(RuntimeError):
            jupyter.wait_for_ready(timeout=2)
    with over_tcp.jupyter() as jupyter:
        jupyter.wait_for_ready(timeout=60)
    assert not marker.exists()


def test_a_jupyter_client_with_the_curve_keys_and_another_signing_key_runs_nothing(over_tcp: Place) -> None:
    marker = over_tcp.around / "marker"
    with over_tcp.jupyter({**over_tcp.info, "key": "0" * 36}) as jupyter:
        jupyter.execute(f"open({str(marker)!r}, 'w')")
        with pytest.raises(RuntimeError):
            jupyter.wait_for_ready(timeout=2)
    with over_tcp.jupyter() as jupyter:
        jupyter.wait_for_ready(timeout=60)
    assert not marker.exists()


def test_rubbish_on_the_ports_ends_nothing(over_tcp: Place) -> None:
    info = over_tcp.info
    ports = [int(info["ops"].rpartition(":")[2]), *(info[port] for port in PORTS)]
    for port in ports:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + bytes(range(256)) * 64)
    assert over_tcp.ok("ping")
    assert over_tcp.ok("eval", "1") == "1\n"
    eventually(lambda: over_tcp.daemons() == [over_tcp.pid], "the daemon is up")
