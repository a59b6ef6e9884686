//! Sequences of chunks that are whole, cut, reordered, too large and too many.

use super::*;
use crate::crypto::sealing::Aead;

fn context() -> AeadContext {
    AeadContext::new(Aead::Aes256Gcm, &[1; 32], [2; 12]).unwrap()
}

fn sealed(texts: &[&[u8]], last: &[u8]) -> Vec<Vec<u8>> {
    let mut sealer = ChunkSealer::new(context());
    let mut chunks: Vec<Vec<u8>> = texts.iter().map(|text| sealer.chunk(text).unwrap()).collect();
    chunks.push(sealer.finish(last).unwrap());
    chunks
}

/// The texts of content that comes at once.
fn open(content: &[u8]) -> Result<Vec<Vec<u8>>, ChunkError> {
    let mut opener = ChunkOpener::new(context());
    opener.push(content);
    let mut texts = Vec::new();
    while let Some(text) = opener.next()? {
        texts.push(text.to_vec());
    }
    texts.push(opener.finish()?.to_vec());
    Ok(texts)
}

#[test]
fn texts_come_out_as_they_went_in() {
    let large = vec![7; MAX_TEXT];
    for (texts, last) in [
        (vec![], b"".as_slice()),
        (vec![], b"all of it"),
        (vec![b"one".as_slice(), b"two"], b""),
        (vec![&large, &large], &large),
    ] {
        let opened = open(&sealed(&texts, last).concat()).unwrap();
        let (end, before) = opened.split_last().unwrap();
        assert_eq!(before, texts);
        assert_eq!(end, last);
    }
}

#[test]
fn content_that_was_cut_anywhere_is_incomplete() {
    let content = sealed(&[b"hello ", b"world"], b"!").concat();
    for len in 0..content.len() {
        let expected = match len {
            // Within the final chunk: its tag is not there.
            46.. => ChunkError::Unauthentic,
            _ => ChunkError::Truncated,
        };
        assert_eq!(open(&content[..len]), Err(expected), "{len} of {} bytes", content.len());
    }
}

#[test]
fn chunks_in_another_order_do_not_decrypt() {
    let chunks = sealed(&[b"one", b"two"], b"three");
    let [one, two, three] = chunks.as_slice() else { panic!("{} chunks", chunks.len()) };
    for order in [[two, one, three].as_slice(), &[one, three], &[three], &[one, one, two, three], &[two, three]] {
        let content: Vec<u8> = order.iter().flat_map(|chunk| chunk.iter().copied()).collect();
        assert_eq!(open(&content), Err(ChunkError::Unauthentic));
    }
}

#[test]
fn a_chunk_is_final_only_if_it_was_sealed_as_final() {
    let chunks = sealed(&[b"one"], b"");
    // A chunk with the prefix of the final one, and the final one with a length.
    let as_final = [&[0], &chunks[0][1..]].concat();
    assert_eq!(open(&as_final), Err(ChunkError::Unauthentic));
    let as_chunk = [chunks[0].as_slice(), &[16], &chunks[1][1..], &chunks[1]].concat();
    assert_eq!(open(&as_chunk), Err(ChunkError::Unauthentic));
}

#[test]
fn bytes_after_the_final_chunk_are_part_of_it() {
    let content = [sealed(&[b"one"], b"two").concat(), vec![0]].concat();
    assert_eq!(open(&content), Err(ChunkError::Unauthentic));
}

/// A changed length moves the border of a chunk, which then does not decrypt.
#[test]
fn a_change_of_any_byte_shows() {
    let content = sealed(&[b"one"], b"two").concat();
    for at in 0..content.len() {
        let mut changed = content.clone();
        changed[at] ^= 1;
        assert_eq!(open(&changed), Err(ChunkError::Unauthentic), "byte {at}");
    }
}

/// The crate `ohttp` 0.8.0 takes such a chunk for the end of the message.
#[test]
fn an_empty_chunk_before_the_final_one_is_refused() {
    assert_eq!(ChunkSealer::new(context()).chunk(b""), Err(ChunkError::Empty));
    let mut sealing = context();
    let empty = [&[16], sealing.seal(&[], b"").unwrap().as_slice()].concat();
    let last = [&[0], sealing.seal(FINAL, b"world").unwrap().as_slice()].concat();
    assert_eq!(open(&[empty, last].concat()), Err(ChunkError::Empty));
}

#[test]
fn a_chunk_larger_than_16_kib_is_refused_before_it_has_come() {
    let large = vec![0; MAX_TEXT + 1];
    assert_eq!(ChunkSealer::new(context()).chunk(&large), Err(ChunkError::TooLarge));
    assert_eq!(ChunkSealer::new(context()).finish(&large), Err(ChunkError::TooLarge));
    let mut opener = ChunkOpener::new(context());
    // 16401 as a length of four bytes, then the largest length.
    opener.push(&[0x80, 0x00, 0x40, 0x11]);
    assert_eq!(opener.next(), Err(ChunkError::TooLarge));
    let mut opener = ChunkOpener::new(context());
    opener.push(&[0xff; 8]);
    assert_eq!(opener.next(), Err(ChunkError::TooLarge));
    let mut opener = ChunkOpener::new(context());
    opener.push(&[vec![0], vec![0; MAX_TEXT + 17]].concat());
    assert_eq!(opener.next(), Err(ChunkError::TooLarge));
}

#[test]
fn nothing_comes_after_an_error() {
    let mut chunks = sealed(&[b"one", b"two"], b"");
    chunks[0][1] ^= 1;
    let mut opener = ChunkOpener::new(context());
    opener.push(&chunks.concat());
    assert_eq!(opener.next(), Err(ChunkError::Unauthentic));
    opener.push(&sealed(&[b"one"], b"").concat());
    assert_eq!(opener.next(), Err(ChunkError::Unauthentic));
    assert_eq!(opener.finish(), Err(ChunkError::Unauthentic));
}

#[test]
fn a_key_encrypts_a_limited_number_of_chunks() {
    let mut sealer = ChunkSealer::new(context());
    sealer.left = 2;
    sealer.chunk(b"one").unwrap();
    assert_eq!(sealer.chunk(b"two"), Err(ChunkError::TooMany));
    let mut opener = ChunkOpener::new(context());
    opener.left = 1;
    opener.push(&sealed(&[b"one", b"two"], b"").concat());
    assert_eq!(opener.next().unwrap().unwrap(), b"one".as_slice());
    assert_eq!(opener.next(), Err(ChunkError::TooMany));
}

#[test]
fn chunks_in_one_piece_are_decrypted_where_they_are() {
    let texts = [b"x".as_slice(); 1000];
    let content = sealed(&texts, b"!").concat();
    let mut opener = ChunkOpener::new(context());
    let (first, last) = content.split_at(content.len() - 1);
    opener.push(first);
    let mut place = opener.received.as_ptr();
    for _ in texts {
        let text = opener.next().unwrap().unwrap();
        assert_eq!(text, b"x".as_slice());
        // Behind a length of one byte.
        assert_eq!(text.as_ptr(), place.wrapping_add(1));
        place = place.wrapping_add(1 + 1 + TAG_LEN);
    }
    assert_eq!(opener.next().unwrap(), None);
    opener.push(last);
    assert_eq!(opener.received.len(), TAG_LEN + 1);
    assert_eq!(opener.finish().unwrap(), b"!".as_slice());
}
