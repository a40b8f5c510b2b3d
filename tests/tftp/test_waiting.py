"""The queue of requests in a flood."""

from typing import Any

from bootserver.tftp.waiting import WAITING_MAX, WAITING_PER_ADDRESS, WaitingRequests


def all_of(waiting: WaitingRequests[Any]) -> list[Any]:
    return [waiting.take() for _ in range(len(waiting))]


def test_addresses_take_turns():
    waiting: WaitingRequests[str] = WaitingRequests()
    for request in ("a1", "a2", "a3", "b1", "c1", "c2"):
        waiting.put(request[0], request)

    assert all_of(waiting) == ["a1", "b1", "c1", "a2", "c2", "a3"]


def test_flood_from_one_address_keeps_its_newest_and_all_of_others():
    waiting: WaitingRequests[str] = WaitingRequests()
    waiting.put("other", "other")

    given_up = sum(waiting.put("flood", str(i)) for i in range(5000))

    assert given_up == 5000 - WAITING_PER_ADDRESS
    kept = [str(i) for i in range(5000 - WAITING_PER_ADDRESS, 5000)]
    assert all_of(waiting) == ["other", *kept]


def test_flood_from_many_addresses_keeps_the_newest():
    waiting: WaitingRequests[int] = WaitingRequests()

    given_up = sum(waiting.put(f"flood {i}", i) for i in range(3 * WAITING_MAX))

    assert given_up == 2 * WAITING_MAX
    assert all_of(waiting) == list(range(2 * WAITING_MAX, 3 * WAITING_MAX))
    assert len(waiting) == 0


def test_known_addresses_have_every_second_turn_whatever_floods():
    waiting: WaitingRequests[str] = WaitingRequests()
    for i in range(3):
        waiting.put(f"known {i}", f"known {i}", is_known=True)
    for i in range(10 * WAITING_MAX):
        waiting.put(f"flood {i}", "flood")

    turns = [waiting.take() for _ in range(6)]

    assert turns == ["known 0", "flood", "known 1", "flood", "known 2", "flood"]


def test_flood_from_a_known_address_leaves_every_second_turn_to_unknown_ones():
    waiting: WaitingRequests[str] = WaitingRequests()
    waiting.put("new", "new")
    for _ in range(10 * WAITING_MAX):
        waiting.put("known", "flood", is_known=True)

    assert "new" in (waiting.take(), waiting.take())
