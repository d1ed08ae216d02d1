use super::*;
use crate::{
    index::{
        block::{Block, BlockKind},
        chunk::Chunk,
    },
    search::{self, tests as fixture},
};

fn block(kind: BlockKind, text: &str) -> Block {
    Block { kind, text: text.to_owned(), ..Block::default() }
}

fn code(text: &str, language: &str) -> Block {
    Block { language: language.to_owned(), ..block(BlockKind::Code, text) }
}

fn step(number: u32, text: &str) -> Block {
    Block { number: Some(number), depth: 1, ..block(BlockKind::Item, text) }
}

fn corpus() -> Vec<Chunk> {
    let mut rotate = fixture::chunk("https://d/keys/#rotate", "Rotate the signing key", "");
    rotate.blocks = vec![
        Block::paragraph("The signing key is rotated in three steps:"),
        step(1, "Write the new key with `keytool`:"),
        Block { depth: 1, ..code("keytool new > key", "sh") },
        step(2, "Deploy it."),
        step(3, "Remove the old key."),
    ];
    let mut cors = fixture::chunk("https://d/cors/#enable", "Enable CORS", "");
    cors.blocks = vec![
        Block::paragraph("Browsers ask first. To enable CORS, add the middleware:"),
        Block { tab: "Python".to_owned(), ..code("app.add_middleware(Cors)", "python") },
        Block { note: "Warning".to_owned(), ..Block::paragraph("Enable CORS for `<known>` origins only.") },
    ];
    let long: String = (0..200).map(|n| format!("option_{n} = {n}\n")).collect();
    let mut config = fixture::chunk("https://d/config/", "Configure the frobnicator", "");
    config.blocks = vec![Block::paragraph("Configure the frobnicator in a file:"), code(&long, "toml")];
    vec![
        fixture::chunk(
            "https://d/backup/#restore",
            "Backups",
            "Backups are taken nightly. To restore a database, run the restore job with the backup's date. Restores take minutes.",
        ),
        fixture::chunk("https://d/net/", "Networks", "Networks are isolated by default. Open a port with a rule."),
        fixture::chunk("https://d/users/", "Users", "Users sign in with a password and a second factor."),
        rotate,
        cors,
        config,
    ]
}

/// What would be said if nothing were withheld: what a handful of sections says of probabilities means little.
fn ask(question: &str) -> Answer {
    ask_with(question, &Settings { confidence: 0.0, ..Settings::default() })
}

fn ask_with(question: &str, settings: &Settings) -> Answer {
    let index = [fixture::index("public", &corpus())];
    answer(&index, question, &search::Settings::default(), settings).unwrap().answer
}

#[test]
fn every_block_is_quoted_and_cited() {
    let answer = ask("How do I restore a database from a backup?");
    assert!(answer.grounded && answer.kind == AnswerKind::Answer);
    assert!(answer.text.contains("run the restore job with the backup's date."), "{}", answer.text);
    assert!(answer.text.contains("[1]"));
    assert_eq!(answer.citations[0].url, "https://d/backup/#restore");
    assert!(answer.citations.iter().all(|citation| !citation.quote.is_empty()));
    assert!(answer.blocks.iter().all(|block| (1..=answer.citations.len()).contains(&block.citation)));
}

#[test]
fn a_question_how_gets_its_steps_whole_and_in_order() {
    let answer = ask("How do I rotate the signing key?");
    let steps = answer.blocks.iter().find(|block| block.kind == Kind::Steps).unwrap();
    assert_eq!(
        steps.text,
        "1. Write the new key with keytool:\n   keytool new > key\n2. Deploy it.\n3. Remove the old key."
    );
    assert!(
        answer
            .text
            .contains("1. Write the new key with `keytool`:\n\n   ```sh\n   keytool new > key\n   ```\n2. Deploy it."),
        "{}",
        answer.text
    );
    assert_eq!(answer.blocks[0].text, "The signing key is rotated in three steps:");
}

/// As `docs/member/rotate-grant-key.md` writes it: code between the steps without indentation, so that a parser sees two lists.
#[test]
fn steps_with_code_between_them_keep_the_text_of_each() {
    let mut key = fixture::chunk("https://d/grant/#order", "Rotate the grant key", "");
    key.blocks = vec![
        step(1, "Make a new grant key:"),
        code("openssl rand -base64 32", "sh"),
        step(2, "Give **both** programs the old and the new key."),
        step(3, "Take the old key out."),
        Block::paragraph("Copilot first."),
        step(1, "Another list of one item."),
    ];
    let mut chunks = corpus();
    chunks.push(key);
    let index = [fixture::index("public", &chunks)];
    let settings = Settings { confidence: 0.0, ..Settings::default() };
    let answer =
        answer(&index, "How do I rotate the grant key?", &search::Settings::default(), &settings).unwrap().answer;
    let steps = answer.blocks.iter().find(|block| block.kind == Kind::Steps).unwrap();
    assert_eq!(
        steps.text,
        "1. Make a new grant key:\n   openssl rand -base64 32\n2. Give **both** programs the old and the new key.\n3. Take the old key out."
    );
}

#[test]
fn a_question_how_is_shown_the_command_of_a_section_that_is_quoted() {
    let mut isolation = fixture::chunk("https://d/isolation/", "Isolation of the control plane", "");
    isolation.blocks = vec![
        Block::paragraph("No workload runs on the machines of the control plane, for reasons of safety."),
        Block::paragraph("Where there is no other machine, say:"),
        code("taint --remove", "sh"),
    ];
    let mut chunks = corpus();
    chunks.push(isolation);
    let index = [fixture::index("public", &chunks)];
    let settings = Settings { confidence: 0.0, ..Settings::default() };
    let question = "I own a single machine, allow workload on the control plane";
    let answer = answer(&index, question, &search::Settings::default(), &settings).unwrap().answer;
    assert!(answer.blocks.iter().any(|block| block.text == "taint --remove"), "{answer:?}");
}

#[test]
fn code_comes_with_its_introduction_its_language_and_its_tab() {
    let answer = ask("How do I enable CORS?");
    let at = answer.blocks.iter().position(|block| block.kind == Kind::Code).unwrap();
    let block = &answer.blocks[at];
    assert_eq!(
        (block.text.as_str(), block.language.as_deref(), block.context.as_str()),
        ("app.add_middleware(Cors)", Some("python"), "Python")
    );
    assert!(answer.blocks[at - 1].text.ends_with("add the middleware:"), "{:?}", answer.blocks);
    assert!(answer.text.contains("**Python**\n\n```python\napp.add_middleware(Cors)\n```"), "{}", answer.text);
    let note = answer.blocks.iter().find(|block| block.kind == Kind::Note).unwrap();
    assert_eq!(note.text, "Enable CORS for <known> origins only.");
}

#[test]
fn long_code_is_cut_at_a_line_and_says_where_it_goes_on() {
    let answer = ask("How do I configure the frobnicator?");
    let code = answer.blocks.iter().find(|block| block.kind == Kind::Code).unwrap();
    assert!(code.text.starts_with("option_0 = 0\n") && code.text.lines().all(|line| line.contains(" = ")));
    assert!(answer.blocks.iter().map(|block| block.text.chars().count()).sum::<usize>() <= 1_200);
    assert!(answer.text.contains("```\n\n[…](<https://d/config/>)"), "{}", answer.text);
}

#[test]
fn small_talk_keywords_and_nonsense_are_no_questions() {
    for (text, kind) in [
        ("hi", AnswerKind::Chat),
        ("thanks!", AnswerKind::Chat),
        ("who are you?", AnswerKind::Chat),
        ("?!", AnswerKind::Chat),
        ("zxcv qwrt plok", AnswerKind::Chat),
        ("backups", AnswerKind::Hits),
        ("restor", AnswerKind::Hits),
        ("xylophone", AnswerKind::None),
    ] {
        let answer = ask(text);
        assert_eq!((answer.kind, answer.grounded, answer.citations.len()), (kind, false, 0), "{text}: {answer:?}");
    }
    assert!(!ask("backups").nearest.is_empty());
}

#[test]
fn corrected_words_are_said() {
    let answer = ask("How do I restore a databsae?");
    assert_eq!(answer.corrections[0].to, "database");
    assert!(answer.text.starts_with("*Showing answers for “database”*\n\n"), "{}", answer.text);
}

#[test]
fn a_question_that_the_documents_do_not_answer_gets_none() {
    for question in ["How do I bake sourdough bread?", "what is it", "database migration to Oracle licences in Brazil"]
    {
        let answer = ask_with(question, &Settings::default());
        assert!(!answer.grounded && answer.citations.is_empty() && answer.blocks.is_empty(), "{question}: {answer:?}");
    }
}

#[test]
fn an_answer_stays_within_its_bounds_and_its_pieces_are_the_whole() {
    for question in [
        "How do I enable CORS and rotate the signing key and configure the frobnicator?",
        "restore a database backup with a port rule",
    ] {
        let answer = ask(question);
        assert!(
            answer.blocks.len() <= 5 && answer.blocks.iter().map(|b| b.text.chars().count()).sum::<usize>() <= 1_200
        );
        assert_eq!(answer.pieces().collect::<String>(), answer.text);
    }
}
