"""Types of options beside the functions that take them; `run` has a type checker read `typed.py`."""

import pytest

import blindbox_attestation as blindbox
from blindbox_attestation import _options
from blindbox_attestation.requests import SecureOptions, SecureSession


def test_options_are_named_as_the_parameters():
    for options, function in (
        (_options.RequestOptions, blindbox.Session.request),
        (_options.AsyncRequestOptions, blindbox.AsyncSession.request),
    ):
        assert options.__optional_keys__ == function.__kwdefaults__.keys()
    own = SecureOptions.__optional_keys__ - blindbox.Settings.__optional_keys__
    assert own == SecureSession.__init__.__kwdefaults__.keys()


def test_a_setting_that_is_not_known_is_refused():
    for call in (blindbox.Verifier, lambda **given: blindbox.verify_connection("https://127.0.0.1:1", None, **given)):
        with pytest.raises(TypeError, match="^there is no setting 'deadlin'$"):
            call(deadlin=1)
