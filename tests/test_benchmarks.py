import naive
import pytest
import torch

from benchmarks import notebook


@pytest.mark.parametrize(("dataset", "model"), [key for key in naive.NETWORKS if key != ("cifar", "rmp")], ids="-".join)
def test_what_we_compare_with_is_the_notebooks_network(dataset: str, model: str) -> None:
    net, reference = notebook.Net(dataset, model), naive.NETWORKS[dataset, model]()
    reference.load_state_dict(net.state_dict())
    if isinstance(reference, naive._Projection):
        reference.P = net.P
    images = torch.randn(4, *((1, 28, 28) if dataset == "mnist" else (3, 32, 32)))
    torch.testing.assert_close(net(images), reference(images), rtol=1e-4, atol=1e-5)
