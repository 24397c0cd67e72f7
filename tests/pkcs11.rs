//! Keys sealed by a PKCS#11 token: the program with Debian's SoftHSM, in a folder of its own.

mod program;

use program::{PROGRAM, phone, post, serve_with, status};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

const PIN: &str = "4711-wamaitha";
const MODULES: [&str; 3] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
];

/// A SoftHSM with two tokens, and what the program is told of it.
struct Tokens {
    dir: testkit::TempDir,
    settings: Vec<(&'static str, String)>,
}

impl Tokens {
    fn new() -> Self {
        let dir = testkit::temp_dir();
        let (conf, tokens) = (dir.path().join("softhsm2.conf"), dir.path().join("tokens"));
        std::fs::create_dir(&tokens).expect("a folder");
        let text =
            format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", tokens.display());
        std::fs::write(&conf, text).expect("a file");
        for label in ["regulator", "other"] {
            let made = Command::new("softhsm2-util")
                .args(["--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "0815-wangari"])
                .env("SOFTHSM2_CONF", &conf)
                .output()
                .expect("softhsm2-util runs: apt-get install softhsm2");
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        }
        let module = MODULES.iter().find(|path| Path::new(path).exists()).expect("apt-get install softhsm2");
        let settings = vec![
            ("SOFTHSM2_CONF", conf.display().to_string()),
            ("MLINZI_PKCS11_PIN", PIN.to_owned()),
            ("MLINZI__KEYS__PROVIDER", "pkcs11".to_owned()),
            ("MLINZI__KEYS__PKCS11_MODULE", (*module).to_owned()),
            ("MLINZI__KEYS__PKCS11_TOKEN", "regulator".to_owned()),
        ];
        Self { dir, settings }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("keys.toml")
    }

    fn store(&self) -> String {
        testkit::sqlite_url(&self.dir)
    }

    /// Runs the program; later settings win.
    fn run(&self, args: &[&str], further: &[(&str, &str)]) -> Output {
        let mut command = Command::new(PROGRAM);
        command.arg("--store").arg(self.store()).arg("--keys").arg(self.file()).args(args);
        command.envs(self.settings.iter().map(|(name, value)| (*name, value.as_str()))).envs(further.iter().copied());
        command.output().expect("the program runs")
    }

    fn done(&self, args: &[&str]) -> String {
        let out = self.run(args, &[]);
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).expect("text")
    }

    #[track_caller]
    fn refused(&self, further: &[(&str, &str)], words: &str) {
        let out = self.run(&["audit", "verify"], further);
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success() && said.contains(words), "wanted {words:?}: {said}");
        assert!(!said.contains(PIN), "the PIN is printed");
    }
}

#[tokio::test]
async fn the_engine_runs_with_keys_that_only_the_token_opens() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let tokens = Tokens::new();
    tokens.done(&["key", "init"]);
    tokens.done(&["migrate"]);
    let sealed = std::fs::read(tokens.file()).expect("the sealed file");
    for clear in ["digest", "vault", "checkpoint"] {
        assert!(!sealed.windows(clear.len()).any(|w| w == clear.as_bytes()), "{clear} stands in the clear");
    }
    let args = ["key", "create", "--label", "test", "--json", "--scope", "register:write", "--scope", "lookup"];
    let key: serde_json::Value = serde_json::from_str(&tokens.done(&args)).expect("JSON");
    let key = key["bearer"].as_str().expect("a bearer");
    let (client, store) = (reqwest::Client::new(), tokens.store());
    let settings: Vec<(&str, &str)> = tokens.settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let who = json!({"phone": phone(10_000_001), "period": "1_year", "reason_class": "self", "channel": "web"});
    let asked = json!({"phone": phone(10_000_001), "purpose": "login"}).to_string();
    // and once more: what was registered is found under the keys of the second start
    for expected in [201, 200] {
        let server = serve_with(&client, tokens.dir.path(), &store, &settings).await;
        let registers = format!("{}/api/v1/nser/register", server.base);
        assert_eq!(status(&client, registers, key, who.to_string()).await, Some(expected));
        let lookups = format!("{}/api/v1/operators/lookup", server.base);
        let answer = post(&client, lookups, key, asked.clone()).await.expect("an answer");
        assert_eq!(answer["decision"], "block");
        if expected == 200 {
            // sealed anew by the program, opened by the engine that runs
            let before = std::fs::read(tokens.file()).expect("the sealed file");
            tokens.done(&["keys", "rotate", "vault"]);
            assert_ne!(std::fs::read(tokens.file()).expect("the sealed file"), before);
            let is_ready = || tokens.done(&["keys", "status"]).contains("vault 1  ready");
            let end = Instant::now() + Duration::from_secs(30);
            while !is_ready() {
                assert!(Instant::now() < end, "the new key is not taken over");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            tokens.done(&["keys", "rotate", "vault", "--retire", "0"]);
        }
        server.stop();
    }
    assert!(tokens.done(&["audit", "verify"]).contains("\"first_bad\":null"));
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let tokens = Tokens::new();
    tokens.refused(&[], "keys.toml: No such file");
    tokens.done(&["key", "init"]);
    tokens.done(&["migrate"]);
    tokens.done(&["audit", "verify"]);

    tokens.refused(&[("MLINZI__KEYS__PKCS11_MODULE", "/nowhere/token.so")], "/nowhere/token.so");
    tokens.refused(&[("MLINZI_PKCS11_PIN", "1234")], "the PIN is wrong");
    tokens.refused(&[("MLINZI__KEYS__PKCS11_TOKEN", "nobody")], "knows none of this label");
    tokens.refused(&[("MLINZI__KEYS__PKCS11_TOKEN", "other")], "no AES key \"mlinzi\"");
    tokens.refused(&[("MLINZI__KEYS__PKCS11_TOKEN", "")], "keys.pkcs11_module: a provider pkcs11 needs");

    // sealed for the other token, which has a key of the same name
    let (file, other) = (tokens.file(), tokens.dir.path().join("other.toml"));
    let there = [("MLINZI__KEYS__PKCS11_TOKEN", "other"), ("MLINZI__KEYS__FILE", other.to_str().expect("a path"))];
    let mut command = Command::new(PROGRAM);
    command.args(["key", "init"]).envs(tokens.settings.iter().map(|(name, value)| (*name, value))).envs(there);
    assert!(command.status().expect("the program runs").success());
    let sealed = std::fs::read(&file).expect("the sealed file");
    std::fs::copy(&other, &file).expect("a copy");
    tokens.refused(&[], "sealed for another token or key, or changed");
    std::fs::write(&file, &sealed).expect("a file");
    tokens.done(&["audit", "verify"]);

    // one bit: of the nonce, of the body, of the tag; of the head
    for place in [21, 33, sealed.len() / 2, sealed.len() - 1] {
        let mut changed = sealed.clone();
        changed[place] ^= 1;
        std::fs::write(&file, &changed).expect("a file");
        tokens.refused(&[], "sealed for another token or key, or changed");
    }
    std::fs::write(&file, &sealed[1..]).expect("a file");
    tokens.refused(&[], "not sealed keys");
    std::fs::write(&file, &sealed[..40]).expect("a file");
    tokens.refused(&[], "does not open");
    std::fs::write(&file, &sealed).expect("a file");
    tokens.done(&["audit", "verify"]);
}

#[test]
fn a_pin_may_lie_in_a_file_that_nobody_else_may_read() {
    use std::os::unix::fs::PermissionsExt;
    let tokens = Tokens::new();
    let pin = tokens.dir.path().join("pin");
    std::fs::write(&pin, format!("{PIN}\n")).expect("a file");
    let with = |args: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.arg("--store").arg(tokens.store()).arg("--keys").arg(tokens.file()).args(args);
        command.envs(tokens.settings.iter().map(|(name, value)| (*name, value)));
        command.env_remove("MLINZI_PKCS11_PIN").env("MLINZI__KEYS__PKCS11_PIN_FILE", &pin);
        command.output().expect("the program runs")
    };
    let said = |out: &Output| String::from_utf8_lossy(&out.stderr).into_owned();
    std::fs::set_permissions(&pin, std::fs::Permissions::from_mode(0o644)).expect("permissions");
    let open = with(&["key", "init"]);
    assert!(!open.status.success() && said(&open).contains("others may read it"), "{}", said(&open));
    assert!(!tokens.file().exists(), "a failed start leaves no file behind");
    std::fs::set_permissions(&pin, std::fs::Permissions::from_mode(0o600)).expect("permissions");
    let made = with(&["key", "init"]);
    assert!(made.status.success(), "{}", said(&made));
    let again = with(&["key", "init"]);
    assert!(!again.status.success() && said(&again).contains("File exists"), "{}", said(&again));
    assert!(with(&["migrate"]).status.success());
    assert!(with(&["audit", "verify"]).status.success());
}
