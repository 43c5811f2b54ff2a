//! The files that an editor needs for completion and type checks in spells.

use llmspell_core::PreludeDocs;
use llmspell_core::bridge::Bridge;
use llmspell_core::prelude_docs::TypeSyntax;

use super::types;

/// The TypeScript configuration for a folder of spells. `moduleDetection` makes each script a module even without
/// imports. The types of browsers and of Node are left out, since spells do not have them.
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
    /// The path in the folder that contains the spells.
    pub path: String,
    /// The content.
    pub text: String,
    /// Whether each version of llmspell overwrites the file; otherwise the user may change it.
    pub is_generated: bool,
}

/// Returns the type files of both languages, and the configuration files by which an editor finds them.
///
/// ```
/// let files = llmspell::reference::editor_files(&[llmspell::Bridge::new("empty").doc("Does nothing.")], &[]);
/// let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
/// assert_eq!(paths, ["types/llmspell.d.luau", "types/llmspell.d.ts", ".luaurc", "tsconfig.json"]);
/// ```
#[must_use]
pub fn editor_files(bridges: &[Bridge], prelude_docs: &[PreludeDocs]) -> Vec<EditorFile> {
    let generated =
        types(bridges, prelude_docs).map(|(path, text)| EditorFile { path, text, is_generated: true });
    let configured = [(".luaurc", luaurc(bridges, prelude_docs)), ("tsconfig.json", TSCONFIG.to_owned())]
        .map(|(path, text)| EditorFile { path: path.to_owned(), text, is_generated: false });
    generated.into_iter().chain(configured).collect()
}

/// Returns the content of `.luaurc`. It names the globals, for tools that do not read the type file and would report
/// them as unknown.
fn luaurc(bridges: &[Bridge], prelude_docs: &[PreludeDocs]) -> String {
    let bridges = bridges.iter().map(|bridge| &*bridge.name);
    let prelude_docs =
        prelude_docs.iter().filter(|piece| piece.syntax == TypeSyntax::Luau).map(|piece| &*piece.name);
    let globals: Vec<String> =
        bridges.chain(prelude_docs).chain(GLOBALS).map(|name| format!("\"{name}\"")).collect();
    format!("{{\n    \"languageMode\": \"nonstrict\",\n    \"globals\": [{}]\n}}\n", globals.join(", "))
}
