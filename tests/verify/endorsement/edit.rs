//! Documents of the emulated signer with a changed header.

use blindbox_attestation::emulator::uvm::{UvmSigner, text_payload};
use blindbox_attestation::uvm::{EndorsementForm, PRODUCTION_FEED};
use coset::cbor::value::Value;

use super::{measurement, signer};

pub type Header = Vec<(Value, Value)>;

#[derive(Clone, Copy)]
pub enum Key {
    Number(i64),
    Text(&'static str),
}

impl From<i64> for Key {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<&'static str> for Key {
    fn from(text: &'static str) -> Self {
        Self::Text(text)
    }
}

impl Key {
    fn value(self) -> Value {
        match self {
            Self::Number(number) => number.into(),
            Self::Text(text) => text.into(),
        }
    }
}

pub fn set(header: &mut Header, key: impl Into<Key>, value: impl Into<Value>) {
    let key = key.into();
    remove(header, key);
    header.push((key.value(), value.into()));
}

pub fn remove(header: &mut Header, key: Key) {
    header.retain(|(label, _)| *label != key.value());
}

pub fn edited(signer: &UvmSigner, form: EndorsementForm, edit: impl FnOnce(&mut Header)) -> Vec<u8> {
    let header = signer.protected_header(form, PRODUCTION_FEED, 5).unwrap();
    let Value::Map(mut pairs) = coset::cbor::de::from_reader(header.as_slice()).unwrap() else { panic!("no map") };
    edit(&mut pairs);
    let mut bytes = Vec::new();
    coset::cbor::ser::into_writer(&Value::Map(pairs), &mut bytes).unwrap();
    bytes
}

/// A document of the common signer with an edited header, signed again.
pub fn resigned(form: EndorsementForm, edit: impl FnOnce(&mut Header)) -> Vec<u8> {
    let header = edited(signer(), form, edit);
    match form {
        EndorsementForm::TextHeaders => signer().sign(&header, &[0xa0], text_payload(5, &measurement()).as_bytes()),
        _ => signer().sign(&header, &[0xa0], measurement().as_bytes()),
    }
    .unwrap()
}
