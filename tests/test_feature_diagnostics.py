"""What the diagnostics of VQUNet report, against direct computation."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from defenses.feature_diagnostics import feature_diagnostics
from defenses.vqunet import VQUNet, network_outputs

SHAPE = (16, 16, 1)


@cache
def purifier(quantize: bool = True) -> VQUNet:
    return VQUNet.for_images(SHAPE, 3, width=0.1, quantize=quantize)


def clean_and_attacked(num_images: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    clean = rng.random((num_images, *SHAPE), dtype="float32")
    return clean, np.clip(clean + rng.normal(scale=0.3, size=clean.shape), 0, 1).astype("float32")


def test_an_image_that_is_not_attacked_changes_nothing_inside():
    clean, _ = clean_and_attacked()
    result = feature_diagnostics(purifier(), clean, clean)
    assert result.num_images == 5
    purified = purifier().purify(clean)
    expected = np.abs(purified - clean).sum(axis=(1, 2, 3)).mean()
    assert result.reconstruction_l1 == pytest.approx(expected, rel=1e-5)
    assert [row.depth for row in result.depths] == [1, 2, 3, 4]
    for row in result.depths:
        assert row.pre_change == row.post_change == row.changed_index_percent == 0.0
        assert row.clean_magnitude > 0
    assert result.depths[0].spread_pre_change == result.depths[0].spread_post_change == 0.0


def test_changes_are_those_of_a_direct_computation():
    clean, attacked = clean_and_attacked()
    result = feature_diagnostics(purifier(), clean, attacked)
    expected = np.abs(purifier().purify(attacked) - clean).sum(axis=(1, 2, 3)).mean()
    assert result.reconstruction_l1 == pytest.approx(expected, rel=1e-5)
    before, after = (purifier().network(images) for images in (clean, attacked))
    for row in result.depths:
        a, b = (np.asarray(side["features"][row.depth - 1]) for side in (before, after))
        q, r = (np.asarray(side["codes"][row.depth - 1]) for side in (before, after))
        j, k = (np.asarray(side["indices"][row.depth - 1]) for side in (before, after))
        assert row.pre_change == pytest.approx(np.abs(a - b).mean(), rel=1e-5)
        assert row.relative_pre_change == pytest.approx(np.abs(a - b).mean() / a.mean(), rel=1e-5)
        assert row.post_change == pytest.approx(np.abs(q - r).mean(), rel=1e-5)
        assert row.relative_post_change == pytest.approx(np.abs(q - r).mean() / a.mean(), rel=1e-5)
        spread, code_spread = (side.std(axis=0, dtype="float64").mean() for side in (a, q))
        assert row.clean_spread == pytest.approx(spread, rel=1e-4, abs=1e-6)
        assert row.clean_code_spread == pytest.approx(code_spread, rel=1e-4, abs=1e-6)
        if row.depth == 1:  # without training, codes take every image for the same further down
            assert row.spread_pre_change == pytest.approx(np.abs(a - b).mean() / spread, rel=1e-4)
            expected = np.abs(q - r).mean() / code_spread
            assert row.spread_post_change == pytest.approx(expected, rel=1e-4)
        assert row.changed_index_percent == pytest.approx(100 * (j != k).mean(), rel=1e-5)
    assert result.depths[0].changed_index_percent > 10


def test_averages_do_not_depend_on_the_batches():
    clean, attacked = clean_and_attacked()
    whole = feature_diagnostics(purifier(), clean, attacked, batch_size=8)
    parts = feature_diagnostics(purifier(), clean, attacked, batch_size=2)
    assert parts.reconstruction_l1 == pytest.approx(whole.reconstruction_l1, rel=1e-5)
    for one, other in zip(whole.depths, parts.depths, strict=True):
        assert one.clean_spread == pytest.approx(other.clean_spread, rel=1e-4, abs=1e-6)
        for name in ("pre_change", "post_change", "changed_index_percent", "clean_magnitude"):
            assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-4), name


def test_one_image_has_no_spread_to_compare_with():
    result = feature_diagnostics(purifier(), *clean_and_attacked(1))
    for row in result.depths:
        assert row.clean_spread == row.clean_code_spread == 0.0
        assert np.isnan(row.spread_pre_change) and np.isnan(row.spread_post_change)


def test_the_ablation_has_features_and_no_codes():
    clean, attacked = clean_and_attacked(2)
    result = feature_diagnostics(purifier(quantize=False), clean, attacked)
    for row in result.depths:
        assert row.pre_change > 0
        assert row.post_change is None
        assert row.relative_post_change is None
        assert row.changed_index_percent is None


def test_outputs_of_many_images_are_in_order_and_unpadded():
    clean, _ = clean_and_attacked()
    outputs = network_outputs(purifier().network, clean, batch_size=2)
    direct = purifier().network(clean)
    assert set(outputs) == {"images", "features", "codes", "indices"}
    for depth, side in enumerate((8, 4, 2, 1)):
        assert outputs["indices"][depth].shape == (5, side, side)
        np.testing.assert_array_equal(outputs["indices"][depth], direct["indices"][depth])
        np.testing.assert_allclose(outputs["features"][depth], direct["features"][depth], atol=1e-5)
    np.testing.assert_allclose(outputs["images"], direct["images"], atol=1e-5)


def test_images_that_do_not_pair_up_are_explained():
    clean, attacked = clean_and_attacked(3)
    with pytest.raises(ValueError, match="attacked image for each clean one"):
        feature_diagnostics(purifier(), clean, attacked[:2])
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        feature_diagnostics(purifier(), clean, attacked * 2)
