//! Commands byte by byte against a TPM that follows a script, and what is refused of its responses.

use std::collections::VecDeque;
use std::io;

use super::*;

/// Expects commands and gives responses, both in hexadecimal, in this order.
struct Script(VecDeque<(Vec<u8>, Vec<u8>)>);

impl Transport for Script {
    fn exchange(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        let (expected, response) = self.0.pop_front().expect("a command that the script does not have");
        assert_eq!(hex::encode(command), hex::encode(expected));
        Ok(response)
    }
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    hex::decode(hexadecimal.replace([' ', '\n'], "")).unwrap()
}

fn tpm(script: &[(&str, &str)]) -> Tpm {
    Tpm::over(Box::new(Script(script.iter().map(|(command, response)| (bytes(command), bytes(response))).collect())))
}

/// A TPM that gives one response to whatever it is sent.
fn always(response: Vec<u8>) -> Tpm {
    struct Always(Vec<u8>);
    impl Transport for Always {
        fn exchange(&mut self, _: &[u8]) -> io::Result<Vec<u8>> {
            Ok(self.0.clone())
        }
    }
    Tpm::over(Box::new(Always(response)))
}

/// A response without sessions.
fn plain(parameters: &[u8]) -> Vec<u8> {
    let size = u32::try_from(parameters.len() + 10).unwrap();
    [&[0x80, 0x01][..], &size.to_be_bytes(), &[0; 4], parameters].concat()
}

/// The same to a command that one password authorized.
fn authorized(parameters: &[u8]) -> Vec<u8> {
    let (size, len) = (u32::try_from(parameters.len() + 19).unwrap(), u32::try_from(parameters.len()).unwrap());
    [&[0x80, 0x02][..], &size.to_be_bytes(), &[0; 4], &len.to_be_bytes(), parameters, &[0, 0, 1, 0, 0]].concat()
}

/// NV_ReadPublic of 0x01400002, with these attributes and this size in hexadecimal.
fn public(attributes: &str, size: &str) -> String {
    hex::encode(plain(&bytes(&format!("000e 01400002 000b {attributes} 0000 {size} 0004 000b aabb"))))
}

const READ_PUBLIC: &str = "8001 0000000e 00000169 01400002";
const NV_BUFFER: &str = "8001 00000016 0000017a 00000006 0000012c 00000001";
/// NV commands carry 4 bytes.
const FOUR: &str = "8001 0000001b 00000000 00 00000006 00000001 0000012c 00000004";
const PASSWORD: &str = "00000009 40000009 0000 00 0000";

fn refused(code: &str) -> String {
    format!("8001 0000000a {code}")
}

#[test]
fn an_index_is_read_in_order_from_its_start_by_the_owner() {
    let read =
        |size: &str, offset: &str| format!("8002 00000023 0000014e 40000001 01400002 {PASSWORD} {size} {offset}");
    let part = |content: &str| {
        let content = bytes(content);
        let len = u16::try_from(content.len()).unwrap();
        hex::encode(authorized(&[&len.to_be_bytes()[..], &content].concat()))
    };
    let mut tpm = tpm(&[
        (READ_PUBLIC, &public("00020002", "000a")),
        (NV_BUFFER, FOUR),
        (&read("0004", "0000"), &part("00010203")),
        (&read("0004", "0004"), &part("04050607")),
        (&read("0002", "0008"), &part("0809")),
        // The size of commands is known by now.
        (READ_PUBLIC, &public("00020002", "0002")),
        (&read("0002", "0000"), &part("aabb")),
        (READ_PUBLIC, &public("00020002", "0000")),
    ]);
    assert_eq!(tpm.nv_read(0x0140_0002).unwrap(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(tpm.nv_read(0x0140_0002).unwrap(), [0xaa, 0xbb]);
    assert!(tpm.nv_read(0x0140_0002).unwrap().is_empty());
}

#[test]
fn an_index_that_is_not_the_owners_is_used_by_its_own_password_or_not_at_all() {
    let read = format!("8002 00000023 0000014e 01400002 01400002 {PASSWORD} 0001 0000");
    let write = format!("8002 00000024 00000137 01400002 01400002 {PASSWORD} 0001 aa 0000");
    let mut tpm = tpm(&[
        (READ_PUBLIC, &public("00040000", "0001")),
        (NV_BUFFER, FOUR),
        (&read, &hex::encode(authorized(&[0, 1, 0xaa]))),
        (READ_PUBLIC, &public("00000004", "0001")),
        (&write, &hex::encode(authorized(&[]))),
        (READ_PUBLIC, &public("00000006", "0001")),
        (READ_PUBLIC, &public("00060000", "0001")),
    ]);
    assert_eq!(tpm.nv_read(0x0140_0002).unwrap(), [0xaa]);
    tpm.nv_write(0x0140_0002, &[0xaa]).unwrap();
    let reason = |error: TpmError| error.to_string();
    let end = "it; another program defined it";
    let start = "NV index 0x01400002: neither the owner nor its own password may";
    assert_eq!(reason(tpm.nv_read(0x0140_0002).unwrap_err()), format!("{start} read {end}"));
    assert_eq!(reason(tpm.nv_write(0x0140_0002, &[]).unwrap_err()), format!("{start} write {end}"));
}

#[test]
fn an_index_that_is_missing_is_defined_before_it_is_written() {
    let define = format!("8002 0000002d 0000012a 40000001 {PASSWORD} 0000 000e 01400002 000b 00060006 0000 0006");
    let write = |part: &str, len: &str, size: &str, offset: &str| {
        format!("8002 {size} 00000137 40000001 01400002 {PASSWORD} {len} {part} {offset}")
    };
    let done = hex::encode(authorized(&[]));
    let mut tpm = tpm(&[
        (READ_PUBLIC, &refused("0000018b")),
        (&define, &done),
        (NV_BUFFER, FOUR),
        (&write("00010203", "0004", "00000027", "0000"), &done),
        (&write("0405", "0002", "00000025", "0004"), &done),
    ]);
    tpm.nv_write(0x0140_0002, &[0, 1, 2, 3, 4, 5]).unwrap();
}

#[test]
fn a_quote_covers_the_data_of_the_caller_and_all_pcrs_as_they_were() {
    let pcr = |index: u8, round: u8| [index ^ round; 32];
    let covered = |round: u8| {
        let all: Vec<u8> = (0..24).flat_map(|index| pcr(index, round)).collect();
        digest(&SHA256, &all).as_ref().to_vec()
    };
    let quote =
        format!("8002 00000049 00000158 81000003 {PASSWORD} 0020 {} 0010 00000001 000b 03 ffffff", "77".repeat(32));
    let quoted = |round: u8| {
        let message = [b"a quote ".to_vec(), covered(round)].concat();
        let sized = [&[0, 40][..], &message, &[0, 0x14, 0, 0x0b, 0, 2, 0x51, 0x52]].concat();
        (hex::encode(authorized(&sized)), message)
    };
    let read = |bitmap: &str| format!("8001 00000014 0000017e 00000001 000b 03 {bitmap}");
    let values = |bitmap: &str, from: u8, round: u8| {
        let mut parameters = bytes(&format!("00000005 00000001 000b 03 {bitmap} 00000008"));
        (from..from + 8).for_each(|index| parameters.extend([&[0, 32][..], &pcr(index, round)].concat()));
        hex::encode(plain(&parameters))
    };
    let [all, upper, last] = [read("ffffff"), read("00ffff"), read("0000ff")];
    let mut script = Vec::new();
    // Between the first quote and its values, every PCR was extended.
    for (of_quote, of_values) in [(0, 1), (1, 1)] {
        script.push((quote.clone(), quoted(of_quote).0));
        script.push((all.clone(), values("ff0000", 0, of_values)));
        script.push((upper.clone(), values("00ff00", 8, of_values)));
        script.push((last.clone(), values("0000ff", 16, of_values)));
    }
    let script: Vec<(&str, &str)> = script.iter().map(|(command, response)| (&**command, &**response)).collect();
    let Quoted { message, signature, pcrs } = tpm(&script).quote(0x8100_0003, &[0x77; 32]).unwrap();
    assert_eq!((message, signature), (quoted(1).1, vec![0x51, 0x52]));
    assert_eq!(pcrs, (0..24).map(|index| pcr(index, 1)).collect::<Vec<_>>());
    // Extended without end.
    let half: Vec<(&str, &str)> = script.iter().take(4).cycle().take(20).copied().collect();
    let error = tpm(&half).quote(0x8100_0003, &[0x77; 32]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the PCRs changed during each of 5 quotes: something extends one of them all the time"
    );
}

#[test]
fn pcrs_other_than_those_requested_are_refused() {
    let read = "8001 00000014 0000017e 00000001 000b 03 ffffff";
    let one = |bitmap: &str, size: &str, count: &str| {
        let value = "aa".repeat(usize::from_str_radix(size, 16).unwrap());
        hex::encode(plain(&bytes(&format!("00000005 00000001 000b 03 {bitmap} {count} {size} {value}"))))
    };
    let first = "expected values of the first PCRs that were requested";
    for (response, reason) in [
        // PCR 16 in place of PCR 0; a second one without a value; none at all.
        (one("000001", "0020", "00000001"), first),
        (one("030000", "0020", "00000001"), first),
        (hex::encode(plain(&bytes("00000005 00000001 000b 03 000000 00000000"))), first),
        (one("010000", "0014", "00000001"), "expected PCR values of 32 bytes"),
        (
            hex::encode(plain(&bytes("00000005 00000000 00000000"))),
            "expected a selection of SHA-256 PCRs; is the SHA-256 bank active?",
        ),
    ] {
        let error = tpm(&[(read, &response)]).pcrs().unwrap_err().to_string();
        assert_eq!(error, format!("PCR_Read: the TPM's response is malformed: {reason}"));
    }
}

#[test]
fn the_modulus_of_a_key_that_signs_is_read() {
    let read = "8001 0000000e 00000173 81000003";
    let public = |area: &str| {
        let area = bytes(area);
        let len = u16::try_from(area.len()).unwrap();
        hex::encode(plain(&[&len.to_be_bytes()[..], &area, &[0, 2, 1, 1, 0, 2, 2, 2]].concat()))
    };
    let area = "0001 000b 00050472 0000 0010 0014 000b 0800 00000000 0003 c1c2c3";
    assert_eq!(tpm(&[(read, &public(area))]).rsa_modulus(0x8100_0003).unwrap(), [0xc1, 0xc2, 0xc3]);
    for (from, to, reason) in [
        ("0001 000b 0005", "0023 000b 0005", "an RSA key"),
        ("0010 0014", "0006 0014", "a key that signs"),
        ("0014 000b", "0016 000b", "a key that signs by RSASSA with SHA-256"),
        ("0003 c1c2c3", "0003 c1c2", "a modulus"),
        ("0003 c1c2c3", "0002 c1c2c3", "no further byte"),
    ] {
        let error = tpm(&[(read, &public(&area.replacen(from, to, 1)))]).rsa_modulus(0x8100_0003).unwrap_err();
        let expected = format!("ReadPublic: the TPM's response is malformed: expected {reason}");
        assert_eq!(error.to_string(), expected);
    }
    let error = tpm(&[(read, &refused("0000018b"))]).rsa_modulus(0x8100_0003).unwrap_err();
    assert!(error.is_missing_handle());
    let shown = "ReadPublic: the TPM refuses: there is no such key or NV index (TPM_RC_HANDLE, 0x18b, handle 1)";
    assert_eq!(error.to_string(), shown);
}

#[test]
fn a_response_is_of_the_size_it_states_and_of_the_commands_kind() {
    let command = Command::new("Quote", 0x0000_0158).authorized(0x8100_0003);
    let reason = |response: &[u8]| command.parameters_of(response).unwrap_err().to_string();
    let malformed = |expected: &str| format!("Quote: the TPM's response is malformed: expected {expected}");
    let good = authorized(&[1, 2, 3]);
    assert_eq!(command.parameters_of(&good).unwrap(), [1, 2, 3]);
    for end in 0..good.len() {
        let shown = match end {
            0..2 => "a tag",
            2..6 => "a size",
            _ => "a response of the size that it states",
        };
        assert_eq!(reason(&good[..end]), malformed(shown), "{end}");
    }
    assert_eq!(reason(&[&good[..], &[0]].concat()), malformed("a response of the size that it states"));
    assert_eq!(reason(&plain(&[1, 2, 3])), malformed("the tag of the command"));
    let mut long = good.clone();
    long[13] = 200;
    assert_eq!(reason(&long), malformed("parameters of the stated size"));
    let mut other = good;
    let last = other.len() - 1;
    other[last] = 1;
    assert_eq!(reason(&other), malformed("the acknowledgement of one password"));
    assert_eq!(
        reason(&bytes(&refused("0000098e"))),
        "Quote: the TPM refuses: a password was set; this program uses the empty one (TPM_RC_AUTH_FAIL, 0x98e, session 1)"
    );
}

/// Whatever a TPM sends, nothing worse happens than an error.
#[test]
fn responses_that_are_cut_anywhere_are_refused() {
    let whole = bytes(&public("00020002", "000a"));
    for end in 10..whole.len() {
        let mut cut = whole[..end].to_vec();
        cut[2..6].copy_from_slice(&u32::try_from(end).unwrap().to_be_bytes());
        match always(cut).nv_read(0x0140_0002) {
            Err(TpmError::Malformed { .. }) => {}
            // The name after the public area is not read.
            Err(error) => assert!(end >= whole.len() - 6, "{end}: {error}"),
            Ok(content) => panic!("{end}: {content:?}"),
        }
    }
    for size in 0..=40_u16 {
        let response = always(plain(&size.to_be_bytes())).rsa_modulus(0x8100_0003);
        assert!(matches!(response, Err(TpmError::Malformed { .. })), "{size}");
    }
}

#[test]
fn an_index_that_is_not_one_of_azures_is_refused_unread() {
    let error = tpm(&[(READ_PUBLIC, &public("00020002", "4001"))]).nv_read(0x0140_0002).unwrap_err();
    assert_eq!(error.to_string(), "NV index 0x01400002: longer than 16384 bytes, which no index of Azure is");
    let other = public("00020002", "0010").replace("01400002", "01400003");
    let error = tpm(&[(READ_PUBLIC, &other)]).nv_read(0x0140_0002).unwrap_err();
    let shown = "NV_ReadPublic: the TPM's response is malformed: expected the index that was requested";
    assert_eq!(error.to_string(), shown);
}
