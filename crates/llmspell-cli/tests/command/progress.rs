//! Progress: bars on a terminal, lines if stderr is not a terminal.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use crate::support::{folder, run, seen};
use crate::terminal::Terminal;

const READS: &str = r#"
local bar = console.progress(20, "Reading")
for page = 1, 20 do
    bar:message("page " .. page)
    bar:advance()
end
"#;

/// Runs a spell on a terminal of this width. Returns the exit code and the final screen.
fn last_screen(columns: u16, source: &str, words: &[&str]) -> (i32, String) {
    let folder = folder(&[("spell.luau", source)]);
    let words: Vec<&str> = ["run", "spell.luau"].iter().chain(words).copied().collect();
    Terminal::with_columns(columns, &mut folder.command(&words), "").last_screen()
}

#[test]
fn a_bar_stays_below_what_is_printed_and_logged() {
    let source = r#"
        local bar = console.progress(4, "Reading")
        bar:message("a.txt")
        bar:advance()
        print("read a.txt")
        log.info("half")
        console.write("read ")
        bar:message("b.txt")
        bar:advance()
        console.write("b.txt\n")
        return "done"
    "#;
    let screen = "read a.txt\ninfo: half\nread b.txt\n[==========>         ] 2/4 Reading b.txt\ndone";
    assert_eq!(last_screen(80, source, &[]), (0, screen.into()));
}

#[test]
fn bars_that_end_stay_in_the_order_in_which_they_end() {
    let source = r#"
        local all, one = console.progress(2, "All"), console.progress(nil, "One")
        one:update(7)
        one:finish()
        all:update(2)
        all:finish()
        print("after")
    "#;
    let screen = "7 One\n[====================] 2/2 All\nafter";
    assert_eq!(last_screen(80, source, &[]), (0, screen.into()));
}

#[test]
fn a_bar_fits_a_narrow_terminal_and_obeys_nobody() {
    let source = r#"
        local bar = console.progress(4, "\27[2JReading\n")
        bar:message("a name that is much longer than a row of this terminal")
        bar:advance()
    "#;
    assert_eq!(last_screen(30, source, &[]), (0, r"1/4 \u{1b}[2JReading  a name ".trim_end().into()));
}

#[test]
fn a_bar_makes_room_for_a_question() {
    let source = r#"
        local bar = console.progress(2, "Reading")
        bar:advance()
        local name = console.read_line("Name? ")
        bar:message(name)
        time.sleep(600)
    "#;
    let folder = folder(&[("spell.luau", source)]);
    let mut terminal = Terminal::start(&mut folder.command(&["run", "spell.luau"]), "");
    terminal.until("Name? ");
    terminal.type_in("Ada\n");
    terminal.until("1/2 Reading Ada");
    terminal.interrupt();
    let (code, screen) = terminal.last_screen();
    let lines: Vec<&str> = screen.lines().collect();
    let expected = ["Name? Ada", "[==========>         ] 1/2 Reading Ada", "error: the run was cancelled"];
    assert_eq!((code, &lines[..3]), (130, &expected[..]));
}

#[test]
fn an_error_comes_below_how_far_it_got() {
    let source = "local bar = console.progress(2, 'Reading')\nbar:advance()\nerror('no more', 0)";
    let screen = "[==========>         ] 1/2 Reading\nerror: no more";
    let (code, shown) = last_screen(80, source, &[]);
    assert_eq!((code, shown.lines().take(2).collect::<Vec<_>>().join("\n")), (1, screen.into()));
}

#[test]
fn the_quiet_see_no_bars() {
    assert_eq!(last_screen(80, READS, &["-q"]), (0, String::new()));
    assert_eq!(run(READS, &["-q"]), seen(0, "", ""));
}

#[test]
fn a_pipe_gets_a_line_at_each_tenth() {
    let lines: Vec<_> =
        (1..=10).map(|tenth| format!("{}/20 Reading page {}\n", tenth * 2, tenth * 2)).collect();
    let stderr = format!("0/20 Reading\n{}", lines.concat());
    assert_eq!(run(READS, &[]), seen(0, "", &stderr));
    let outcome = run(READS, &["--output", "json"]);
    assert_eq!((outcome.code, outcome.stderr), (0, stderr));
}

#[test]
fn a_stream_of_events_has_progress_as_events() {
    let source = "local bar = console.progress(2, 'Reading')\nbar:advance()\nbar:finish()";
    let ran = run(source, &["--output", "stream-json"]);
    let event = |done, finished| {
        format!(
            r#"{{"event":"progress","id":1,"label":"Reading","message":"","done":{done},"total":2,"finished":{finished}}}"#
        )
    };
    let events: Vec<_> = ran.stdout.lines().take(3).collect();
    assert_eq!(events, [event(0, false), event(1, false), event(1, true)]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
}

#[test]
fn a_spell_whose_reader_has_gone_tells_how_far_it_got() {
    let source =
        "local bar = console.progress(20, 'Reading')\nbar:advance()\nwhile true do print('again') end";
    let folder = folder(&[("spell.luau", source)]);
    let mut command = folder.command(&["run", "spell.luau"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(141), "0/20 Reading\n1/20 Reading\n"));
}
