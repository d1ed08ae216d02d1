//! Who gets which documents.

use docsgate_harness::system_tool::shared_data;

use crate::gate::{Gate, SITE, Wanted, header, ok, problem, urls};

#[test]
fn anybody_is_answered_from_the_public_documents_with_citations_that_land() {
    let gate = Gate::start();
    let found = ok(gate.search("mooring fees").send().unwrap());
    assert_eq!(urls(&found)[0], format!("{SITE}#mooring-fees"), "{found:#}");
    let answer = ok(gate.ask("How much does a mooring cost a night?").send().unwrap());
    assert_eq!(answer["grounded"], true, "{answer:#}");
    assert!(answer["answer"].as_str().unwrap().contains("twelve crowns"), "{answer:#}");
    assert!(urls(&answer).contains(&format!("{SITE}#mooring-fees")), "{answer:#}");
}

#[test]
fn a_member_is_answered_from_both_and_nobody_else_from_the_member_documents() {
    let gate = Gate::start();
    let question = "night passage of the zanzibar channel";
    let member = gate.member_token();
    let found = ok(gate.search(question).bearer_auth(&member).send().unwrap());
    assert_eq!(urls(&found)[0], format!("{SITE}pilots/#night-passage-of-the-zanzibar-channel"), "{found:#}");
    let both = ok(gate.search("mooring fees").bearer_auth(&member).send().unwrap());
    assert_eq!(urls(&both)[0], format!("{SITE}#mooring-fees"), "{both:#}");
    let answer = ok(gate.ask("How do I pass the zanzibar channel at night?").bearer_auth(&member).send().unwrap());
    assert!(answer["answer"].as_str().unwrap().contains("violet buoys"), "{answer:#}");

    let stranger = gate.token("stranger@example.org");
    for request in [gate.search(question), gate.search(question).bearer_auth(&stranger)] {
        let text = ok(request.send().unwrap()).to_string();
        assert!(!text.contains("pilots") && !text.contains("violet"), "{text}");
    }
    for request in [gate.ask("zanzibar violet buoys"), gate.ask("zanzibar violet buoys").bearer_auth(&stranger)] {
        let answer = ok(request.send().unwrap());
        assert_eq!(answer["grounded"], false, "{answer:#}");
        let text = answer.to_string();
        assert!(!text.contains("pilots") && !text.contains("starboard"), "{text}");
    }
}

#[test]
fn a_members_only_route_tells_who_is_not_one() {
    let gate = Gate::start();
    let ask = || gate.search("buoys").header("x-only", "members");
    let response = ask().send().unwrap();
    assert!(header(&response, "www-authenticate").starts_with("Bearer"), "{response:?}");
    problem(response, 401, "identity_required");
    let stranger = gate.token("stranger@example.org");
    gate.look_up(&stranger);
    problem(ask().bearer_auth(stranger).send().unwrap(), 403, "insufficient_entitlement");
    ok(ask().bearer_auth(gate.member_token()).send().unwrap());
}

#[test]
fn real_documents_keep_to_their_side() {
    let Some(docs) = shared_data("hybridops-docs") else { return };
    let folders = [docs.join("modules"), docs.join("blueprints")];
    let gate = Gate::with(Wanted { docs: Some(folders), ..Wanted::default() });
    let token = gate.member_token();
    let mut member_hits = 0;
    for question in
        ["PostgreSQL failback to on-prem", "blueprint steps", "DR restore from backup", "inputs of the module", "VPN"]
    {
        let anonymous = ok(gate.search(question).send().unwrap());
        let corpora = |body: &serde_json::Value| -> Vec<String> {
            let hits = body["hits"].as_array().unwrap();
            hits.iter().map(|hit| hit["corpus"].as_str().unwrap().to_owned()).collect()
        };
        assert!(!corpora(&anonymous).is_empty(), "{question}");
        assert!(corpora(&anonymous).iter().all(|corpus| corpus == "public"), "{question}: {anonymous:#}");
        for url in urls(&anonymous) {
            let page = url.strip_prefix(SITE).unwrap().split('#').next().unwrap().trim_end_matches('/').to_owned();
            let readme = docs.join("modules").join(&page);
            assert!(readme.is_dir() || readme.with_extension("md").is_file(), "{url} is not a module's page");
        }
        let both = ok(gate.search(question).bearer_auth(&token).send().unwrap());
        member_hits += corpora(&both).iter().filter(|corpus| *corpus == "member").count();
        let answer = ok(gate.ask(question).send().unwrap());
        assert!(!answer.to_string().contains(r#""corpus":"member""#), "{answer:#}");
    }
    assert!(member_hits > 0, "a member never saw a blueprint");
}

#[test]
fn what_the_documents_do_not_say_is_not_answered() {
    let gate = Gate::start();
    let answer = ok(gate.ask("Which quaternion algebra underlies photosynthesis?").send().unwrap());
    assert_eq!(answer["grounded"], false, "{answer:#}");
}
