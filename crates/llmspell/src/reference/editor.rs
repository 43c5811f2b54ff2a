//! What an editor needs to know what spells can call.

use llmspell_core::Furniture;
use llmspell_core::bridge::Bridge;
use llmspell_core::furniture::Written;

use super::types;

/// How TypeScript reads a folder of spells. Each script is a module, though it imports nothing, and there is nothing of
/// a browser and nothing of Node.
const TSCONFIG: &str = r#"{
    "compilerOptions": {
        "target": "es2024",
        "lib": ["es2024"],
        "types": [],
        "module": "esnext",
        "moduleResolution": "bundler",
        "moduleDetection": "force",
        "allowImportingTsExtensions": true,
        "allowJs": true,
        "erasableSyntaxOnly": true,
        "isolatedModules": true,
        "strict": true,
        "skipLibCheck": true,
        "noEmit": true
    },
    "include": ["types/llmspell.d.ts", "**/*.ts", "**/*.mts", "**/*.js", "**/*.mjs"]
}
"#;

/// Globals of Luau spells that belong to no bridge.
const GLOBALS: [&str; 1] = ["params"];

/// A file for editors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditorFile {
    /// Its path in the folder with the spells.
    pub path: String,
    /// What is in it.
    pub text: String,
    /// Whether it is made anew for each version, or the user's to change.
    pub is_generated: bool,
}

/// The types of both languages, and the configuration by which an editor finds them.
///
/// ```
/// let files = llmspell::reference::editor_files(&[llmspell::Bridge::new("empty").doc("Does nothing.")], &[]);
/// let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
/// assert_eq!(paths, ["types/llmspell.d.luau", "types/llmspell.d.ts", ".luaurc", "tsconfig.json"]);
/// ```
#[must_use]
pub fn editor_files(bridges: &[Bridge], furniture: &[&Furniture]) -> Vec<EditorFile> {
    let generated =
        types(bridges, furniture).map(|(path, text)| EditorFile { path, text, is_generated: true });
    let configured = [(".luaurc", luaurc(bridges, furniture)), ("tsconfig.json", TSCONFIG.to_owned())]
        .map(|(path, text)| EditorFile { path: path.to_owned(), text, is_generated: false });
    generated.into_iter().chain(configured).collect()
}

/// Names the globals, which tools that do not read the types take for mistakes.
fn luaurc(bridges: &[Bridge], furniture: &[&Furniture]) -> String {
    let bridges = bridges.iter().map(|bridge| bridge.name);
    let furniture = furniture.iter().filter(|piece| piece.written == Written::Luau).map(|piece| piece.name);
    let globals: Vec<String> =
        bridges.chain(furniture).chain(GLOBALS).map(|name| format!("\"{name}\"")).collect();
    format!("{{\n    \"languageMode\": \"nonstrict\",\n    \"globals\": [{}]\n}}\n", globals.join(", "))
}
