//! What is no question about the documents: greetings, thanks, nonsense, questions about the assistant itself. Each gets
//! a short fixed text; the documents are not asked.

mod phrases;

use std::{collections::HashSet, sync::LazyLock};

use crate::index::{language::Language, tokenizer};
use phrases::{ELSEWHERE, PHRASES};

/// Kind of small talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmallTalk {
    /// A greeting.
    Greeting,
    /// Thanks, or a farewell.
    Thanks,
    /// Something about the assistant.
    Assistant,
    /// Nothing that means anything.
    Nonsense,
}

/// Words that may follow the opening of a question about the assistant. An opening that begins with `=` is all of it.
const MORE: usize = 3;
/// Longest greeting.
const LONG: usize = 12;

/// What small talk a text is, if it is any, and in which language. What has a word besides is a question.
#[must_use]
pub fn small_talk(text: &str) -> Option<(SmallTalk, Option<Language>)> {
    let words = words(text);
    if words.is_empty() {
        return Some((SmallTalk::Nonsense, None));
    }
    let bare = text.trim().trim_end_matches(['!', '.', '?', '！', '。', '？', '~', '～', ' ']).to_lowercase();
    if ELSEWHERE.contains(&bare.as_str()) {
        return Some((SmallTalk::Greeting, None));
    }
    if words.len() > LONG {
        return None;
    }
    let joined = format!("{} ", words.join(" "));
    for phrases in FOLDED.iter() {
        let greets = words.iter().any(|word| phrases.greetings.contains(word));
        let thanks = words.iter().any(|word| phrases.thanks.contains(word));
        let known = |word: &String| {
            [&phrases.greetings, &phrases.thanks, &phrases.beside].iter().any(|words| words.contains(word))
        };
        let all = words.iter().all(known);
        let asks_about_us = phrases.openings.iter().any(|(opening, exact)| {
            let rest = joined.strip_prefix(opening.as_str()).map(|rest| rest.split_whitespace().count());
            rest.is_some_and(|rest| if *exact { rest == 0 } else { rest <= MORE })
        });
        if all && (greets || thanks) {
            let kind = if thanks && !greets { SmallTalk::Thanks } else { SmallTalk::Greeting };
            return Some((kind, Some(phrases.language)));
        }
        if asks_about_us {
            return Some((SmallTalk::Assistant, Some(phrases.language)));
        }
    }
    None
}

fn words(text: &str) -> Vec<String> {
    let folded = tokenizer::fold(text).into_owned();
    let split = folded.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    split.take(LONG * 2).map(str::to_owned).collect()
}

/// The phrases of one language as texts are compared with them: folded once, not by every question.
struct Folded {
    language: Language,
    greetings: HashSet<String>,
    thanks: HashSet<String>,
    beside: HashSet<String>,
    /// Openings of a question about the assistant, and whether each is all of it.
    openings: Vec<(String, bool)>,
}

static FOLDED: LazyLock<Vec<Folded>> = LazyLock::new(|| {
    let set = |list: &str| list.split('|').map(|word| tokenizer::fold(word).into_owned()).collect();
    let opening = |opening: &str| {
        let (opening, exact) = opening.strip_prefix('=').map_or((opening, false), |opening| (opening, true));
        (format!("{} ", words(opening).join(" ")), exact)
    };
    let folded = PHRASES.iter().map(|phrases| Folded {
        language: phrases.language,
        greetings: set(phrases.greetings),
        thanks: set(phrases.thanks),
        beside: set(phrases.beside),
        openings: phrases.assistant.split('|').map(opening).collect(),
    });
    folded.collect()
});

/// The fixed text of small talk.
#[must_use]
pub fn reply(talk: SmallTalk, language: Language) -> &'static str {
    let texts = match language {
        Language::German => [
            "Hallo! Frag mich etwas zu dieser Dokumentation.",
            "Gern geschehen.",
            "Ich bin der Assistent dieser Dokumentation: Ich antworte mit dem, was in ihr steht, und nenne die Stelle.",
            "Das habe ich nicht verstanden. Frag mich etwas zu dieser Dokumentation.",
        ],
        Language::French => [
            "Bonjour ! Posez-moi une question sur cette documentation.",
            "Avec plaisir.",
            "Je suis l'assistant de cette documentation : je réponds avec ce qu'elle contient, en citant le passage.",
            "Je n'ai pas compris. Posez-moi une question sur cette documentation.",
        ],
        Language::Spanish => [
            "¡Hola! Pregúntame algo sobre esta documentación.",
            "De nada.",
            "Soy el asistente de esta documentación: respondo con lo que contiene y cito dónde está.",
            "No lo he entendido. Pregúntame algo sobre esta documentación.",
        ],
        Language::Italian => [
            "Ciao! Chiedimi qualcosa su questa documentazione.",
            "Prego.",
            "Sono l'assistente di questa documentazione: rispondo con ciò che contiene e cito il punto.",
            "Non ho capito. Chiedimi qualcosa su questa documentazione.",
        ],
        Language::Portuguese => [
            "Olá! Pergunte-me algo sobre esta documentação.",
            "De nada.",
            "Sou o assistente desta documentação: respondo com o que ela contém e cito onde está.",
            "Não entendi. Pergunte-me algo sobre esta documentação.",
        ],
        Language::Dutch => [
            "Hallo! Vraag me iets over deze documentatie.",
            "Graag gedaan.",
            "Ik ben de assistent van deze documentatie: ik antwoord met wat erin staat en noem de plaats.",
            "Dat begreep ik niet. Vraag me iets over deze documentatie.",
        ],
        Language::Swedish => [
            "Hej! Fråga mig något om den här dokumentationen.",
            "Varsågod.",
            "Jag är assistenten för den här dokumentationen: jag svarar med det som står i den och anger var.",
            "Det förstod jag inte. Fråga mig något om den här dokumentationen.",
        ],
        Language::English | Language::None => [
            "Hello! Ask me something about this documentation.",
            "You're welcome.",
            "I am this documentation's assistant: I answer with what it says, and cite where it says so.",
            "I did not understand that. Ask me something about this documentation.",
        ],
    };
    texts[talk as usize]
}

/// Said when the documents do not answer, when there are only places to look at, and before the words that were corrected.
#[must_use]
pub fn fixed(language: Language) -> Fixed {
    let [none, hits, corrected] = match language {
        Language::German => [
            "Die Dokumentation scheint diese Frage nicht zu beantworten.",
            "Diese Stellen passen am besten.",
            "Antworten für",
        ],
        Language::French => [
            "La documentation ne semble pas répondre à cette question.",
            "Voici les passages les plus proches.",
            "Réponses pour",
        ],
        Language::Spanish => [
            "La documentación no parece responder a esta pregunta.",
            "Estos son los pasajes más cercanos.",
            "Respuestas para",
        ],
        Language::Italian => [
            "La documentazione non sembra rispondere a questa domanda.",
            "Questi sono i punti più vicini.",
            "Risposte per",
        ],
        Language::Portuguese => [
            "A documentação não parece responder a esta pergunta.",
            "Estas são as passagens mais próximas.",
            "Respostas para",
        ],
        Language::Dutch => [
            "De documentatie lijkt deze vraag niet te beantwoorden.",
            "Deze plaatsen passen het best.",
            "Antwoorden voor",
        ],
        Language::Swedish => {
            ["Dokumentationen verkar inte besvara den frågan.", "De här ställena passar bäst.", "Svar för"]
        }
        Language::English | Language::None => [
            "The documentation does not seem to answer this question.",
            "These places match best.",
            "Showing answers for",
        ],
    };
    Fixed { none, hits, corrected }
}

/// The fixed texts of one language.
#[derive(Debug, Clone, Copy)]
pub struct Fixed {
    /// The documents do not answer.
    pub none: &'static str,
    /// Keywords get places, not an answer.
    pub hits: &'static str,
    /// Before the words that were searched in another form.
    pub corrected: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_talk_is_told_from_questions() {
        for (text, expected) in [
            ("hi", SmallTalk::Greeting),
            ("Hello there!", SmallTalk::Greeting),
            ("Guten Tag", SmallTalk::Greeting),
            ("Здравствуйте!", SmallTalk::Greeting),
            ("thanks a lot", SmallTalk::Thanks),
            ("Tack så mycket!", SmallTalk::Thanks),
            ("merci beaucoup", SmallTalk::Thanks),
            ("Are you a human?", SmallTalk::Assistant),
            ("Wie heißt du?", SmallTalk::Assistant),
            ("tu parles français ?", SmallTalk::Assistant),
            ("!!", SmallTalk::Nonsense),
            ("🙂", SmallTalk::Nonsense),
            ("", SmallTalk::Nonsense),
        ] {
            assert_eq!(small_talk(text).map(|(talk, _)| talk), Some(expected), "{text}");
        }
        for text in [
            "hello world example",
            "thanks to which setting are pods kept?",
            "what are you allowed to put into a policy file of the gate",
            "how are tokens verified?",
            "good morning batch job schedule",
        ] {
            assert_eq!(small_talk(text), None, "{text}");
        }
    }

    #[test]
    fn every_language_has_its_texts() {
        let languages = [
            Language::English,
            Language::Dutch,
            Language::French,
            Language::German,
            Language::Italian,
            Language::Portuguese,
            Language::Spanish,
            Language::Swedish,
        ];
        let mut seen = HashSet::new();
        for language in languages {
            for talk in [SmallTalk::Greeting, SmallTalk::Assistant, SmallTalk::Nonsense] {
                assert!(seen.insert(reply(talk, language)), "{language}: {talk:?}");
            }
            assert!(seen.insert(fixed(language).none) && seen.insert(fixed(language).hits));
        }
    }
}
