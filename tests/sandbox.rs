//! The sandbox as an operator's engineer meets it: every status, decision and error of the contract, and nothing of the
//! live register.

mod program;

use program::{Server, get, post, prepare, serve, serve_with};
use serde_json::{Value, json};
use std::path::Path;

const PATH: &str = "/api/v1/operators/lookup";

async fn start(client: &reqwest::Client, dir: &Path, store: &str) -> Server {
    let sandbox = format!("sqlite:{}", dir.join("sandbox.sqlite").display());
    serve_with(client, dir, store, &[("MLINZI__SANDBOX__STORE", sandbox.as_str())]).await
}

async fn ask(client: &reqwest::Client, server: &Server, key: &str, body: Value) -> (u16, Value) {
    let request = client.post(format!("{}{PATH}", server.base)).bearer_auth(key).body(body.to_string());
    let answer = request.header("content-type", "application/json").send().await.expect("an answer");
    (answer.status().as_u16(), serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON"))
}

/// The decision for each purpose, once the person stands as `status`.
async fn decisions(client: &reqwest::Client, server: &Server, key: &str, person: &Value, status: &str) -> Vec<String> {
    let asked = |purpose: &str| {
        let mut body = person.clone();
        body["purpose"] = json!(purpose);
        body
    };
    // its people are made while the node comes up, and one has to wait until its break is over
    let stands = async {
        while ask(client, server, key, asked("login")).await.1["status"] != status {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), stands).await.unwrap_or_else(|_| panic!("never {status}"));
    let mut decisions = Vec::new();
    for purpose in ["registration", "login", "withdrawal", "marketing", "sweep"] {
        let (_, answer) = ask(client, server, key, asked(purpose)).await;
        decisions.push(answer["decision"].as_str().unwrap_or_default().to_owned());
    }
    decisions
}

#[actix_rt::test]
async fn every_status_decision_and_error_can_be_tried_and_nothing_live_is_touched() {
    let dir = testkit::temp_dir();
    let store = testkit::sqlite_url(&dir);
    let staff = prepare(dir.path(), &store);
    let client = reqwest::Client::new();
    let server = start(&client, dir.path(), &store).await;
    let operator = post(
        &client,
        format!("{}/api/v1/operators/register", server.base),
        &staff,
        json!({"code": "acme", "name": "Acme"}).to_string(),
    );
    let operator = operator.await.expect("an operator")["id"].as_str().expect("an id").to_owned();
    let keys = format!("{}/api/v1/operators/{operator}/keys", server.base);
    let new = |sandbox: bool| {
        json!({"label": "k", "scopes": ["lookup", "lookup:batch", "bst:rotate"], "rate_per_second": 1000, "sandbox": sandbox}).to_string()
    };
    let test = post(&client, keys.clone(), &staff, new(true)).await.expect("a key of the sandbox");
    let live = post(&client, keys.clone(), &staff, new(false)).await.expect("a live key");
    assert_eq!((&test["sandbox"], &live["sandbox"]), (&json!(true), &json!(false)));
    let (id, test) =
        (test["id"].as_str().expect("an id").to_owned(), test["bearer"].as_str().expect("a bearer").to_owned());
    let live = live["bearer"].as_str().expect("a bearer").to_owned();
    assert!(test.starts_with("mk_test_") && live.starts_with("mk_live_"), "{test} {live}");

    let table = [
        (json!({"phone": "+254700000001"}), "not_excluded", ["allow", "allow", "allow", "allow", "allow"]),
        (json!({"phone": "+254700000002"}), "excluded", ["block", "block", "allow", "block", "block"]),
        (json!({"id_number": "90000003"}), "excluded", ["block", "block", "allow", "block", "block"]),
        (json!({"phone": "+254700000005"}), "previously_excluded", ["allow", "allow", "allow", "block", "allow"]),
        (
            json!({"phone": "+254700000006", "id_number": "12345678"}),
            "review",
            ["hold", "allow", "allow", "block", "hold"],
        ),
    ];
    for (person, status, wanted) in &table {
        assert_eq!(decisions(&client, &server, &test, person, status).await, wanted, "{person}");
        let mut body = person.clone();
        body["purpose"] = json!("login");
        assert_eq!(
            ask(&client, &server, &live, body).await.1["status"],
            "not_excluded",
            "the live register knows nobody of them"
        );
    }
    for (phone, status, problem) in
        [("429", 429, "rate_limited"), ("503", 503, "not_ready"), ("504", 503, "degraded"), ("505", 503, "overloaded")]
    {
        let body = json!({"phone": format!("+254700000{phone}"), "purpose": "login"});
        let (got, answer) = ask(&client, &server, &test, body.clone()).await;
        assert_eq!((got, answer["type"].as_str()), (status, Some(format!("urn:mlinzi:problem:{problem}").as_str())));
        assert_eq!(ask(&client, &server, &live, body).await.0, 200, "only in the sandbox");
    }
    // who is registered in the live register is nobody in the sandbox
    let someone = json!({"phone": "+254712345678", "period": "1_year", "reason_class": "self", "channel": "web"});
    post(&client, format!("{}/api/v1/nser/register", server.base), &staff, someone.to_string())
        .await
        .expect("registered");
    let body = json!({"phone": "+254712345678", "purpose": "login"});
    assert_eq!(ask(&client, &server, &live, body.clone()).await.1["status"], "excluded");
    let (_, answer) = ask(&client, &server, &test, body.clone()).await;
    assert_eq!(answer["status"], "not_excluded");
    // tokens of one are none of the other, and a batch goes where its key leads
    let token = json!({"bst": answer["bst"], "purpose": "login"});
    assert_eq!(ask(&client, &server, &test, token.clone()).await.0, 200);
    assert_eq!(ask(&client, &server, &live, token).await.0, 422);
    let batch =
        json!({"purpose": "sweep", "users": [{"phone": "+254700000002"}, {"phone": "+254712345678"}]}).to_string();
    let rows =
        post(&client, format!("{}/api/v1/operators/batch/lookup", server.base), &test, batch).await.expect("a batch");
    assert_eq!(
        (&rows["results"][0]["status"], &rows["results"][1]["status"]),
        (&json!("excluded"), &json!("not_excluded"))
    );
    let listed = get(&client, format!("{}/api/v1/sandbox", server.base), &test).await;
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(3 * web::sandbox::PEOPLE.len()));
    // both kinds of keys are listed, and a dead one is dead
    assert_eq!(get(&client, keys.clone(), &staff).await["items"].as_array().map(Vec::len), Some(2));
    // and so after a restart, where nobody is made a second time; and after live keys came and went
    program::run(dir.path(), &store, &["keys", "rotate", "token"]);
    let retired = async {
        while !std::process::Command::new(program::PROGRAM)
            .args(["--store", &store, "--keys"])
            .arg(dir.path().join("keys.toml"))
            .args(["keys", "rotate", "token", "--retire", "0"])
            .status()
            .is_ok_and(|status| status.success())
        {
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), retired).await.expect("the old token key is retired");
    server.stop();
    let server = start(&client, dir.path(), &store).await;
    for (person, status, wanted) in &table {
        assert_eq!(decisions(&client, &server, &test, person, status).await, wanted, "{person}");
    }
    let gone = client.delete(format!("{}/api/v1/operators/{operator}/keys/{id}", server.base)).bearer_auth(&staff);
    assert_eq!(gone.send().await.expect("an answer").status().as_u16(), 204);
    assert_eq!(ask(&client, &server, &test, body.clone()).await.0, 401);
    server.stop();
    // without a sandbox its keys are nobody's
    let server = serve(&client, dir.path(), &store).await;
    assert_eq!(ask(&client, &server, &test, body).await.0, 401);
    let refused = client.post(format!("{}/api/v1/operators/{operator}/keys", server.base)).bearer_auth(&staff);
    let refused = refused.header("content-type", "application/json").body(new(true)).send().await.expect("an answer");
    assert_eq!(refused.status().as_u16(), 422);
}
