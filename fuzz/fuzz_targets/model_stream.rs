//! What a model's server streams: any bytes, cut anywhere, say the same, and the answer put together of them is never longer than
//! what was said.
#![no_main]

use copilot::generate::{
    units::{Assembler, Body, Run, Unit},
    wire::{Api, Decoder, Piece},
};
use libfuzzer_sys::fuzz_target;

fn pieces(api: Api, parts: &[&[u8]]) -> Option<Vec<Piece>> {
    let mut decoder = Decoder::new(api);
    let mut pieces = Vec::new();
    for part in parts {
        pieces.extend(decoder.push(part).ok()?);
    }
    pieces.extend(decoder.end().ok()?);
    Some(pieces)
}

fn units(parts: &[&str]) -> Vec<Unit> {
    let mut assembler = Assembler::default();
    let mut units: Vec<Unit> = parts.iter().flat_map(|part| assembler.push(part)).collect();
    units.extend(assembler.end(true));
    units
}

fn said(unit: &Unit) -> usize {
    match &unit.body {
        Body::Code { text, .. } => text.len(),
        Body::Sentence(runs) => runs.iter().map(|(Run::Text(text) | Run::Code(text))| text.len()).sum(),
    }
}

fuzz_target!(|input: (u16, &[u8])| {
    let (at, bytes) = input;
    let at = usize::from(at).min(bytes.len());
    for api in [Api::OpenAi, Api::Ollama] {
        assert_eq!(pieces(api, &[&bytes[..at], &bytes[at..]]), pieces(api, &[bytes]));
    }
    let text = String::from_utf8_lossy(bytes);
    let cut = (0..=at.min(text.len())).rev().find(|cut| text.is_char_boundary(*cut)).unwrap_or(0);
    let whole = units(&[&text]);
    assert_eq!(units(&[&text[..cut], &text[cut..]]), whole);
    assert!(whole.iter().map(said).sum::<usize>() <= text.len());
});
