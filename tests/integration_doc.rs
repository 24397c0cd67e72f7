//! `docs/INTEGRATION.md`, run: every block of it in order against the program, and what it says comes out does come out.
//!
//! How blocks are marked stands at the top of the guide.

mod program;

use program::{PROGRAM, prepare, serve_with};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const GUIDE: &str = include_str!("../docs/INTEGRATION.md");

/// Time for one block.
const PATIENCE: Duration = Duration::from_secs(120);

/// Programs that the guide calls, and Debian's packages of them.
const NEEDED: &[(&str, &str)] =
    &[("bash", "bash"), ("curl", "curl"), ("jq", "jq"), ("python3", "python3"), ("node", "nodejs")];

/// What is done with a block.
#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    /// Run by bash.
    Run,
    /// Saved under this name.
    File(&'a str),
    /// Compared with what the block before it printed.
    Output,
}

#[derive(Debug, PartialEq, Eq)]
struct Block<'a> {
    /// Line of its fence.
    line: usize,
    part: Part<'a>,
    text: String,
}

impl<'a> Block<'a> {
    /// What is to be done with a block of these words behind its fence; none where it is only to be read.
    fn part(words: &[&'a str]) -> Result<Option<Part<'a>>, String> {
        match words {
            ["bash", "run"] => Ok(Some(Part::Run)),
            ["text", "output"] => Ok(Some(Part::Output)),
            ["python" | "ts", mark] => {
                let name = mark.strip_prefix("file=").filter(|name| !name.is_empty() && !name.contains('/'));
                name.map(|name| Some(Part::File(name))).ok_or_else(|| format!("{mark} is not file=NAME"))
            }
            ["bash" | "python" | "ts", ..] => Err("a block that nobody runs".to_owned()),
            [_] => Ok(None),
            other => Err(format!("{other:?} is no mark of a block")),
        }
    }
}

/// The blocks of a guide that something is done with.
fn blocks(guide: &str) -> Result<Vec<Block<'_>>, String> {
    let mut found = Vec::new();
    let mut lines = guide.lines().zip(1..);
    while let Some((fence, line)) = lines.next() {
        let Some(words) = fence.strip_prefix("```") else { continue };
        let words: Vec<&str> = words.split_whitespace().collect();
        let part = Block::part(&words).map_err(|error| format!("line {line}: {error}"))?;
        let mut text = String::new();
        loop {
            match lines.next() {
                None => return Err(format!("line {line}: the block does not end")),
                Some(("```", _)) => break,
                Some((inner, _)) => text = text + inner + "\n",
            }
        }
        found.extend(part.map(|part| Block { line, part, text }));
    }
    Ok(found)
}

/// Is a line like a pattern, in which `…` stands for any text?
fn like(line: &str, pattern: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('…') else { return line == pattern };
    let Some(mut left) = line.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('…').map_or((None, rest), |(middle, last)| (Some(middle), last));
    for part in middle.into_iter().flat_map(|middle| middle.split('…')) {
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
    }
    left.ends_with(last)
}

/// Is what was printed what the guide says, line by line?
fn fits(printed: &str, said: &str) -> bool {
    let (printed, said) = (printed.trim_end(), said.trim_end());
    printed.lines().count() == said.lines().count() && printed.lines().zip(said.lines()).all(|(p, s)| like(p, s))
}

/// Fails and says how to get what is missing.
fn require_programs() {
    let found = |program: &str| {
        let version = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    };
    let missing: Vec<&str> =
        NEEDED.iter().filter(|(program, _)| !found(program)).map(|(_, package)| *package).collect();
    assert!(
        missing.is_empty(),
        "the guide needs more programs: `make test-deps` installs them (Debian: apt-get install {})",
        missing.join(" ")
    );
}

/// A reader of the guide: a folder, and the environment that lasts from block to block.
struct Reader<'a> {
    folder: &'a Path,
    environment: Vec<(&'static str, String)>,
}

impl Reader<'_> {
    async fn run(&self, script: &str) -> Output {
        let script = format!("[ ! -e .environment ] || . ./.environment\n{script}export -p > .environment\n");
        let mut bash = tokio::process::Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", &script]).current_dir(self.folder).stdin(Stdio::null()).kill_on_drop(true);
        // nothing of whoever runs the tests gets in between
        ["MLINZI_CONFIG", "MLINZI_KEYS", "MLINZI_KEY"].iter().for_each(|name| _ = bash.env_remove(name));
        bash.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let out = tokio::time::timeout(PATIENCE, bash.output()).await;
        out.unwrap_or_else(|_| panic!("not done after {PATIENCE:?}:\n{script}")).expect("bash runs")
    }
}

#[tokio::test]
async fn the_guide_of_integration_works_from_top_to_bottom() {
    require_programs();
    let dir = testkit::temp_dir();
    let store = testkit::sqlite_url(&dir);
    let staff = prepare(dir.path(), &store);
    let client = reqwest::Client::new();
    let sandbox = format!("sqlite:{}", dir.path().join("sandbox.sqlite").display());
    let server = serve_with(&client, dir.path(), &store, &[("MLINZI__SANDBOX__STORE", sandbox.as_str())]).await;
    let folder = dir.path().join("afternoon");
    std::fs::create_dir(&folder).expect("a folder");
    let programs = Path::new(PROGRAM).parent().expect("the program's folder").display();
    let environment = vec![
        ("MLINZI_URL", server.base.clone()),
        ("MLINZI_STAFF", staff),
        ("MLINZI__STORE__URL", store.clone()),
        ("MLINZI__KEYS__FILE", dir.path().join("keys.toml").display().to_string()),
        ("PATH", format!("{programs}:{}", std::env::var("PATH").expect("a PATH"))),
        ("NO_PROXY", "127.0.0.1".to_owned()),
        ("no_proxy", "127.0.0.1".to_owned()),
    ];
    let reader = Reader { folder: &folder, environment };

    let (mut printed, mut compared) = (None, 0);
    for Block { line, part, text } in blocks(GUIDE).expect("docs/INTEGRATION.md can be read") {
        match part {
            Part::File(name) => std::fs::write(folder.join(name), text).expect("a file"),
            Part::Run => {
                let out = reader.run(&text).await;
                let (said, complained) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
                let status = out.status;
                assert!(
                    status.success(),
                    "docs/INTEGRATION.md:{line}: {status}\n{text}\nprinted:\n{said}\ncomplained:\n{complained}"
                );
                printed = Some(said.into_owned());
            }
            Part::Output => {
                let printed = printed.take().unwrap_or_else(|| panic!("docs/INTEGRATION.md:{line}: output of nothing"));
                assert!(fits(&printed, &text), "docs/INTEGRATION.md:{line}: says\n{text}\nbut there comes\n{printed}");
                compared += 1;
            }
        }
    }
    assert!(compared > 15, "{compared} outputs: the search for blocks finds too few");
    server.stop();
}

#[test]
fn blocks_are_found_by_their_marks() {
    let guide =
        "a\n```bash run\necho\n```\n```sh\nonly read\n```\n```ts file=a.mjs\n1\n\n2\n```\n```text output\n```\n";
    let block = |line, part, text: &str| Block { line, part, text: text.to_owned() };
    let expected =
        vec![block(2, Part::Run, "echo\n"), block(8, Part::File("a.mjs"), "1\n\n2\n"), block(13, Part::Output, "")];
    assert_eq!(blocks(guide), Ok(expected));
    for wrong in ["```bash\n```", "```python run\n```", "```ts file=\n```", "```ts file=../a\n```", "```bash run\nx"] {
        assert!(blocks(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn an_output_fits_where_only_its_gaps_differ() {
    let table = [
        ("allow", "allow", true),
        ("allow", "block", false),
        ("allowed", "allow", false),
        ("{\"id\":\"key_1\",\"live\":true}\n", "{\"id\":\"key_…\",\"live\":true}", true),
        ("{\"id\":\"key_1\",\"live\":false}", "{\"id\":\"key_…\",\"live\":true}", false),
        ("a1b2c", "a…b…c", true),
        ("a1c2b", "a…b…c", false),
        ("ab", "a…b…b", false),
        ("1\n2\n", "1\n2", true),
        ("1\n2\n3\n", "1\n2", false),
        ("anything", "…", true),
        ("", "something", false),
    ];
    for (printed, said, expected) in table {
        assert_eq!(fits(printed, said), expected, "{printed:?} against {said:?}");
    }
}
