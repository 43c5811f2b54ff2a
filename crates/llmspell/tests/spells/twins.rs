//! Both languages behave the same: each case exists in both, and each method is called in both.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};
use llmspell::{Bridge, Runtime};

/// Folders of features that only one language has.
const ALONE: [&str; 2] = ["javascript", "luau"];

/// The languages, each with the extensions of its spells.
const LANGUAGES: [(&str, &[&str]); 2] = [("Luau", &["luau"]), ("JavaScript", &["js", "ts"])];

pub(crate) fn trials(root: &Path, cases: &[PathBuf]) -> Vec<Trial> {
    let (root, cases) = (root.to_owned(), cases.to_vec());
    let (of_twins, of_calls) = ((root, cases.clone()), cases);
    vec![
        Trial::test("twins: each case is there in both languages", move || {
            none(&without_twin(&of_twins.0, &of_twins.1))
        }),
        Trial::test("twins: each method is called in both languages", move || none(&not_called(&of_calls)?)),
    ]
}

fn none(missing: &[String]) -> Result<(), Failed> {
    if missing.is_empty() { Ok(()) } else { Err(Failed::from(missing.join("\n"))) }
}

/// Returns whether a case must exist in both languages, with the same output except for file extensions.
pub(crate) fn is_twin(root: &Path, case: &Path) -> bool {
    !ALONE.iter().any(|folder| case.starts_with(root.join(folder)))
}

fn without_twin(root: &Path, cases: &[PathBuf]) -> Vec<String> {
    let names: BTreeSet<PathBuf> =
        cases.iter().filter(|case| is_twin(root, case)).map(|case| case.with_extension("")).collect();
    let mut missing = Vec::new();
    for name in &names {
        for (language, extensions) in LANGUAGES {
            if !extensions.iter().any(|extension| cases.contains(&name.with_extension(extension))) {
                missing.push(format!("{} is not there in {language}", name.display()));
            }
        }
    }
    missing
}

/// Returns the methods of bridges and of their objects that no case calls.
#[expect(clippy::disallowed_methods, reason = "a test reads the spells that it looks into")]
fn not_called(cases: &[PathBuf]) -> Result<Vec<String>, Failed> {
    let mut missing = Vec::new();
    let bridges = Runtime::builder().build()?.bridges().list();
    let names: Vec<&str> = bridges.iter().map(|bridge| &*bridge.name).collect();
    for (language, extensions) in LANGUAGES {
        let of_language =
            |case: &&PathBuf| extensions.iter().any(|one| case.extension().is_some_and(|it| it == *one));
        let mut text = String::new();
        for case in cases.iter().filter(of_language) {
            text.push_str(&std::fs::read_to_string(case)?);
        }
        let is_luau = language == "Luau";
        for bridge in &bridges {
            missing.extend(
                silent(bridge, &text, &names, is_luau)
                    .into_iter()
                    .map(|method| format!("no case calls {method} in {language}")),
            );
        }
    }
    Ok(missing)
}

fn silent(bridge: &Bridge, text: &str, bridges: &[&str], is_luau: bool) -> Vec<String> {
    let written = |name: &str| if is_luau { name.to_owned() } else { camel_case(name) };
    let own = bridge.methods.iter().filter_map(|method| {
        let call = format!("{}.{}", bridge.name, written(&method.name));
        let is_silent = words(text, &call).next().is_none();
        is_silent.then_some(call)
    });
    let of_objects = bridge.classes.iter().flat_map(|class| &class.methods).filter_map(|method| {
        let call = format!("{}{}", if is_luau { ':' } else { '.' }, written(&method.name));
        // A method of a bridge may have the same name.
        let is_of_object = |at: usize| {
            let owner = text[..at].rsplit(|letter: char| !letter.is_alphanumeric()).next();
            !bridges.contains(&owner.unwrap_or_default())
        };
        let is_silent = !words(text, &call).any(is_of_object);
        is_silent.then_some(call)
    });
    own.chain(of_objects).collect()
}

/// Returns the positions at which a name occurs as a whole word.
fn words<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = usize> + 'a {
    let ends = move |at: usize| {
        !text[at + name.len()..].starts_with(|next: char| next.is_alphanumeric() || next == '_')
    };
    text.match_indices(name).map(|(at, _)| at).filter(move |at| ends(*at))
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| name + &word[..1].to_uppercase() + &word[1..])
}
