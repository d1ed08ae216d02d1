use std::sync::LazyLock;

use super::*;
use crate::index::{block::Block, chunk::Chunk, language::Language};

/// Sections of two subjects. Those of one share companions, and no section has both names of its subject.
fn chunks() -> Vec<Chunk> {
    let subjects = [
        (["car", "automobile"], ["engine", "wheel", "road", "driver", "petrol", "brake"]),
        (["loaf", "bread"], ["oven", "flour", "dough", "baker", "yeast", "crust"]),
    ];
    let mut chunks = Vec::new();
    for number in 0..96 {
        let (names, companions) = &subjects[number % 2];
        let words: Vec<String> = (0..3)
            .map(|step| companions[(number / 2 + step * (1 + number % 3)) % companions.len()].to_owned())
            .chain((0..4).map(|step| format!("other{}", (number * 7 + step * 11) % 90)))
            .collect();
        let text = format!("The {} {}", names[(number / 2) % 2], words.join(" "));
        chunks.push(Chunk { blocks: vec![Block::paragraph(&text)], ..Chunk::default() });
    }
    chunks
}

#[test]
fn words_of_one_company_lie_near_each_other() {
    let meaning = learn(&chunks(), Language::English);
    let place = meaning.fold_in(["automobil"].into_iter()).unwrap();
    let likeness = meaning.likeness(&place);
    let mean = |of: usize| likeness.iter().skip(of).step_by(2).sum::<f32>() / 48.0;
    assert!(mean(0) > mean(1) + 0.05, "{} {}", mean(0), mean(1));
    // Sections that say "car" alone are nearer than those about bread.
    let cars = likeness.iter().step_by(4).sum::<f32>() / 24.0;
    assert!(cars > mean(1), "{cars}");
    assert!(meaning.fold_in(["unheard"].into_iter()).is_none());
}

#[test]
fn the_same_sections_give_the_same_bytes_which_are_read_back() {
    let (first, second) = (learn(&chunks(), Language::English), learn(&chunks(), Language::English));
    assert_eq!(first.to_bytes(), second.to_bytes());
    assert_eq!(Meaning::from_bytes(&first.to_bytes(), 96).unwrap(), first);
    let small = learn(&chunks()[..10], Language::English);
    assert!(small.is_empty());
    assert_eq!(Meaning::from_bytes(&small.to_bytes(), 10).unwrap(), small);
    assert!(small.likeness(&[0.1; DIMENSIONS]).is_empty());
}

#[test]
fn what_is_not_a_space_is_refused() {
    let bytes = learn(&chunks(), Language::English).to_bytes();
    for length in [0, 7, 8, 19, 20, 21, 40, bytes.len() / 2, bytes.len() - 1] {
        assert!(Meaning::from_bytes(&bytes[..length], 96).is_err(), "{length}");
    }
    assert!(Meaning::from_bytes(&bytes, 95).is_err());
    assert!(Meaning::from_bytes(&[&bytes[..], b"x"].concat(), 96).is_err());
    let mut boastful = bytes.clone();
    boastful[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(Meaning::from_bytes(&boastful, 96).is_err());
    let mut wide = bytes.clone();
    wide[8..12].copy_from_slice(&65_u32.to_le_bytes());
    assert!(Meaning::from_bytes(&wide, 96).is_err());
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(MEANING_FILE), vec![0; 16 << 20]).unwrap();
    assert!(Meaning::open(folder.path(), 96).unwrap_err().to_string().contains("larger than"));
    assert!(Meaning::open(&folder.path().join("none"), 96).is_err());
}

proptest::proptest! {
    #[test]
    fn no_damage_makes_reading_or_searching_panic(changes in proptest::collection::vec((0_usize..20_000, proptest::num::u8::ANY), 1..8)) {
        static LEARNED: LazyLock<Vec<u8>> = LazyLock::new(|| learn(&chunks(), Language::English).to_bytes());
        let mut bytes = LEARNED.clone();
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        if let Ok(meaning) = Meaning::from_bytes(&bytes, 96)
            && let Some(place) = meaning.fold_in(["car", "other1"].into_iter())
        {
            assert_eq!(meaning.likeness(&place).len(), 96);
        }
    }
}
