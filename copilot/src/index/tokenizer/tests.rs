use proptest::prelude::*;

use super::*;

fn words(text: &str) -> Vec<String> {
    tokenize(text).words.into_iter().map(|word| word.text).collect()
}

fn identifiers(text: &str) -> Vec<String> {
    tokenize(text).identifiers.into_iter().map(|word| word.text).collect()
}

#[test]
fn prose_is_split_into_folded_words() {
    assert_eq!(words("The Café's pods, don't wait."), ["the", "cafe", "pods", "don", "wait"]);
    assert_eq!(identifiers("The Café's pods, don't wait."), Vec::<String>::new());
}

#[test]
fn identifiers_are_kept_whole_and_by_parts() {
    assert_eq!(words("--dry-run=client"), ["dry", "run", "client"]);
    assert_eq!(identifiers("--dry-run=client"), ["dry-run"]);
    assert_eq!(
        identifiers("kube-apiserver HYOPS_INPUT_x foo.bar() c++ C#"),
        ["kube-apiserver", "hyops_input_x", "foo.bar", "c++", "c#"]
    );
    assert_eq!(identifiers("v1.27.3."), ["v1.27.3"]);
    assert_eq!(identifiers("quay.io/org/nginx:1.14.2"), ["quay.io/org/nginx:1.14.2", "quay.io", "1.14.2"]);
    assert_eq!(identifiers("-f"), ["f"]);
    assert_eq!(identifiers("end. of: sentence - dash"), Vec::<String>::new());
}

#[test]
fn camel_case_is_found_whole_and_by_parts() {
    assert_eq!(words("hostNetwork"), ["hostnetwork", "host", "network"]);
    assert_eq!(words("HTTPServer"), ["httpserver", "http", "server"]);
    assert_eq!(words("eBPF iOS OAuth2"), ["ebpf", "ios", "oauth2"]);
    let positions: Vec<usize> = tokenize("hostNetwork mode").words.into_iter().map(|word| word.position).collect();
    assert_eq!(positions, [0, 0, 1, 2]);
}

#[test]
fn text_without_spaces_is_indexed_by_pairs() {
    assert_eq!(words("日本語"), ["日本", "本語"]);
    assert_eq!(words("中"), ["中"]);
}

#[test]
fn encoded_data_is_passed_over() {
    assert_eq!(words(&"A".repeat(500)), Vec::<String>::new());
    assert_eq!(words(&format!("before {} after", "Q".repeat(97))), ["before", "after"]);
}

proptest! {
    #[test]
    fn any_text_is_tokenized_with_valid_ranges(text in "\\PC{0,80}") {
        let tokens = tokenize(&text);
        for word in tokens.words.iter().chain(&tokens.identifiers) {
            prop_assert!(text.get(word.range.clone()).is_some_and(|part| !part.is_empty()), "{word:?}");
            prop_assert!(!word.text.is_empty() || fold(&text[word.range.clone()]).is_empty());
        }
        prop_assert!(tokens.words.windows(2).all(|pair| pair[0].position <= pair[1].position));
    }
}
