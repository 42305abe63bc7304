import hashlib

import torch

from weightnet.net.streams import stream


def test_a_stream_is_its_seed_and_name_alone() -> None:
    torch.manual_seed(5)
    first = torch.rand(4, generator=stream(1, "order/1"))
    torch.manual_seed(6)
    assert torch.equal(first, torch.rand(4, generator=stream(1, "order/1")))
    assert not torch.equal(first, torch.rand(4, generator=stream(1, "order/2")))
    assert not torch.equal(first, torch.rand(4, generator=stream(2, "order/1")))


def test_the_derivation_stays_as_it_is() -> None:
    # a change would change every published number: 63 bits of SHA-256, little endian
    number = int.from_bytes(hashlib.sha256(b"3/projection").digest()[:8], "little") // 2
    assert stream(3, "projection").initial_seed() == number
