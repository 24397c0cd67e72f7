//! Secrets of channels: from a file that nobody else may read, or from the environment. Never from the configuration.

use std::io::Read;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Bytes of a secret at most.
const BYTES_MAX: u64 = 64 * 1024;

/// Is exactly one place named? `what` is how the settings begin.
pub fn check(what: &str, file: Option<&PathBuf>, variable: Option<&String>) -> Option<String> {
    match (file, variable) {
        (Some(_), Some(_)) => Some(format!("{what}_file: {what}_env is set, too")),
        (None, None) => Some(format!("{what}_file: neither it nor {what}_env is set")),
        _ => None,
    }
}

/// The secret, without space around it.
pub fn read(what: &str, file: Option<&PathBuf>, variable: Option<&String>) -> Result<Zeroizing<String>, String> {
    let text = match (file, variable) {
        (Some(path), _) => of_file(path).map_err(|why| format!("{what}_file: {}: {why}", path.display()))?,
        (None, Some(name)) => {
            let text = std::env::var(name).map_err(|_| format!("{what}_env: there is no {name}, or it is no text"));
            Zeroizing::new(text?)
        }
        (None, None) => return Err(format!("{what}_file: neither it nor {what}_env is set")),
    };
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(format!("{what}: is empty"));
    }
    Ok(Zeroizing::new(trimmed.to_owned()))
}

fn of_file(path: &Path) -> Result<Zeroizing<String>, String> {
    let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = file.metadata().map_err(|e| e.to_string())?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err("others may read it; chmod 600".to_owned());
        }
    }
    let mut text = Zeroizing::new(String::new());
    file.take(BYTES_MAX).read_to_string(&mut text).map_err(|e| e.to_string())?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_secret_comes_from_a_file_that_nobody_else_may_read() {
        let dir = testkit::temp_dir();
        let path = dir.path().join("secret");
        let read = |path: &PathBuf| read("password", Some(path), None).map(|text| text.to_string());
        assert!(read(&path).unwrap_err().starts_with("password_file: "));
        std::fs::write(&path, " hunter2\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let refused = read(&path).unwrap_err();
        assert!(refused.ends_with("chmod 600") && !refused.contains("hunter2"), "{refused}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read(&path), Ok("hunter2".to_owned()));
        std::fs::write(&path, "\n").unwrap();
        assert_eq!(read(&path), Err("password: is empty".to_owned()));
    }

    #[test]
    fn one_place_is_named() {
        let (path, name) = (PathBuf::from("x"), "X".to_owned());
        assert_eq!(check("secret", Some(&path), None), None);
        assert_eq!(check("secret", None, Some(&name)), None);
        assert!(check("secret", Some(&path), Some(&name)).is_some());
        assert!(check("secret", None, None).is_some());
        assert!(super::read("secret", None, Some(&"MLINZI_TEST_NO_SUCH_NAME".to_owned())).is_err());
    }
}
