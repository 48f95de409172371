"""Views of memory that the host may cut and turn, but not read. (The memory here is the host's.)"""

import numpy as np
import pytest

from numgumbel import dispatch
from numgumbel.device import DeviceView, device_view


class Interface:
    """An array that tells of itself as GPU libraries' arrays do."""

    def __init__(self, array, **changes):
        self.array = array
        self.__cuda_array_interface__ = {
            "shape": array.shape,
            "strides": array.strides,
            "typestr": array.dtype.str,
            "data": (array.ctypes.data, False),
            "version": 3,
            **changes,
        }

    __cuda_array_interface__ = None


def viewed(array, **changes):
    owner = Interface(array, **changes)
    return dispatch.family_of(owner, "x").view(owner), owner


def test_a_view_has_address_shape_and_strides():
    base = np.arange(24.0).reshape(2, 3, 4)
    view, owner = viewed(base)
    assert isinstance(view, DeviceView)
    assert view.owner is owner
    turned = np.moveaxis(view, 0, -1)[1:, ::-1]
    assert turned.owner is owner
    assert turned.ctypes.data == np.moveaxis(base, 0, -1)[1:, ::-1].ctypes.data
    assert turned.strides == np.moveaxis(base, 0, -1)[1:, ::-1].strides


def test_packed_arrays_may_leave_their_strides_out():
    view, _ = viewed(np.zeros((2, 3, 4), np.float32), strides=None)
    assert view.strides == (48, 16, 4)
    assert viewed(np.zeros((), np.int64), strides=None)[0].strides == ()
    assert viewed(np.zeros((0, 3)), strides=None, data=(0, False))[0].shape == (0, 3)


def test_two_bytes_of_anything_are_bfloat16():
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="pip install ml_dtypes")
    view, _ = viewed(np.zeros((3, 4), np.int16), typestr="<V2")
    assert view.dtype == ml_dtypes.bfloat16
    assert view.shape == (3, 4)


def test_nothing_is_read():
    view, _ = viewed(np.arange(6.0).reshape(2, 3))
    assert repr(view) == str(view) == "<device memory, float64, shape (2, 3), strides (24, 8)>"
    reads = [
        lambda: view + 1,
        lambda: np.exp(view),
        lambda: view.astype(np.float32),
        lambda: view.copy(),
        lambda: view.__array__(),
    ]
    for read in reads:
        with pytest.raises(TypeError):
            read()


def test_masked_arrays_are_refused():
    with pytest.raises(TypeError, match="masked"):
        viewed(np.zeros(3), mask=np.zeros(3, bool))


def test_host_and_device_do_not_mix():
    import numgumbel as ng

    key, x = ng.key(1), np.zeros((2, 3))
    on_device = Interface(np.zeros((2, 3)))
    with pytest.raises(TypeError, match="mask is a CUDA array and the logits are a NumPy array: move one to the other"):
        ng.categorical(key, x, mask=on_device)
    with pytest.raises(TypeError, match="rows is a list and the logits are a CUDA array: move it to the GPU"):
        ng.categorical(key, on_device, rows=[1, 2])
    with pytest.raises(TypeError, match="rows must be int64 in a GPU's memory, got int32"):
        ng.categorical(key, on_device, rows=Interface(np.zeros(2, np.int32)))
    with pytest.raises(TypeError, match="temperature must be float64 in a GPU's memory, got float32"):
        ng.categorical(key, on_device, temperature=Interface(np.ones(2, np.float32)))
    with pytest.raises(ValueError, match="temperature must be a scalar or one a row"):
        ng.categorical(key, on_device, temperature=Interface(np.ones(3)))
    with pytest.raises(TypeError, match="cols must be int64 in a GPU's memory, got uint32"):
        ng.categorical(key, on_device, cols=Interface(np.zeros((2, 3), np.uint32)))
    with pytest.raises(ValueError, match='invalid must be None, "raise" or "mark"'):
        ng.categorical(key, on_device, invalid="no")


def test_tensors_elsewhere_are_told_what_to_do():
    torch = pytest.importorskip("torch", reason="pip install torch")
    import numgumbel as ng

    with pytest.raises(
        TypeError, match=r"torch tensors are taken on cpu and cuda, got one on meta: move it with tensor.cpu\(\)"
    ):
        ng.categorical(ng.key(1), torch.zeros(2, 3, device="meta"))


def test_pointers_of_empty_arrays():
    assert device_view(None, 0, (0,), (8,), np.dtype(np.float64)).size == 0


def test_two_devices_are_refused():
    import types

    import numgumbel as ng

    x, mask = Interface(np.zeros((2, 3))), Interface(np.ones((2, 3), bool))
    x.device, mask.device = types.SimpleNamespace(id=0), types.SimpleNamespace(id=1)
    with pytest.raises(TypeError, match="mask is on GPU 1 and logits on GPU 0: move one to the other"):
        ng.categorical(ng.key(1), x, mask=mask)
    out = Interface(np.zeros(2, np.int64))
    out.device = types.SimpleNamespace(id=2)
    with pytest.raises(TypeError, match="out is on GPU 2 and logits on GPU 0"):
        ng.categorical(ng.key(1), x, out=out)
