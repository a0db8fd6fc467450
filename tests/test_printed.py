"""Printed values: read as they stand in the publications, under our labels."""

from __future__ import annotations

import pytest

from results.printed import printed_table, printed_values, table_value, text_value, text_words


def test_numbers_and_words_of_the_running_text():
    assert text_value("003", "3.4.3", "Fashion-MNIST accuracy floor") == 93
    assert text_words("003", "3.4.3", "Fashion-MNIST accuracy floor") == "above 93"
    assert text_value("003", "3.4.2", "SFL advantage fails at FGSM eps") == 0.15
    assert text_words("004", "V-B", "Defense-GAN iterations, candidates") == "200, 20"
    with pytest.raises(ValueError, match=r"3\.4\.3: Fashion-MNIST accuracy floor"):
        text_words("003", "3.4.3", "no such quantity")
    with pytest.raises(ValueError, match="received 'A, B, C'"):
        text_value("003", "3.4.3", "accuracy averaged over target classifiers")


def test_numbers_of_a_table():
    assert table_value("003.T4.1", "L1 Norm", "Cyc_4") == 518.8
    assert table_value("004.T7", "Ratio", "Defense-GAN") == 134.55
    assert printed_table("003.T5.1a")["benign_accuracy"] == 94.03
    with pytest.raises(ValueError, match=r"row 'L1', .*'Cyc_4'"):
        table_value("003.T4.1", "L1", "Cyc_4")
    with pytest.raises(ValueError, match=r"known tables: .*'004\.T3'"):
        printed_table("004.T33")


def test_a_table_under_our_labels():
    lines = {"A, FGSM": ("A", "FGSM (0.3)"), "A, clean": "A"}
    columns = {"MagNet, reformer alone": "MagNet", "bare": "No Attack"}
    assert printed_values("004.T3", lines, columns) == {
        ("A, FGSM", "MagNet, reformer alone"): 26.9,
        ("A, FGSM", "bare"): 99.51,
        ("A, clean", "MagNet, reformer alone"): 26.9,
        ("A, clean", "bare"): 99.51,
    }
    assert printed_values("004.T3", lines, columns, digits=2)[
        "A, FGSM", "MagNet, reformer alone"
    ] == ("26.90")
    # The thermometer's Carlini-Wagner accuracy is lost.
    assert printed_values("001.T1", {"thermometer": "THM"}, {"CW": "CW"}) == {}


@pytest.mark.parametrize(
    ("lines", "columns"), [({"E": "E"}, {"PuVAE": "PuVAE"}), ({"A": "A"}, {"PuVAE": "Puvae"})]
)
def test_a_row_or_column_that_is_not_printed_is_an_error(lines, columns):
    with pytest.raises(ValueError, match=r"printed table '004\.T3'.*'Adv\. Tr\.'"):
        printed_values("004.T3", lines, columns)
