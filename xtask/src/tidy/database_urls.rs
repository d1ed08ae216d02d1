//! Where a database's URL may stand: in a file or in the environment, never on a command line, which every process of the
//! machine can read; and with a server whose certificate is checked.

use std::path::Path;

/// What is wrong with a line of a document, manifest or script; `None` if nothing is.
pub(super) fn fault(file: &Path, line: &str) -> Option<&'static str> {
    // Programs hold URLs of tests, and the changelog says what was.
    if file.extension().is_some_and(|end| end == "rs") || file.ends_with("CHANGELOG.md") {
        return None;
    }
    let flag = ["--database-url", "--database-listen-url"].iter().any(|flag| {
        line.match_indices(flag)
            .any(|(at, _)| line.get(at + flag.len()..).is_some_and(|rest| rest.starts_with([' ', '=', ',', '"'])))
    });
    let psql = line.contains("psql ") && (line.contains("://") || line.contains("_URL"));
    let literal = line.contains("--from-literal") && line.contains("://") && line.contains('@');
    if flag || psql || literal {
        return Some(
            "a database URL on a command line: use a file (--database-url-file, --from-file, service=) or the environment",
        );
    }
    let url = ["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| line.split_once(scheme).is_some_and(|(_, rest)| rest.contains('@')));
    // Its containers share a network of their own, and a Postgres without a certificate.
    let throwaway = file == Path::new("compose.yaml");
    let checked = line.contains("sslmode=verify-full") && line.contains("sslrootcert=");
    (url && !throwaway && !checked).then_some("a database URL without sslmode=verify-full and sslrootcert=")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_on_a_command_line_or_without_a_ca_is_found() {
        let page = Path::new("docs/member/page.md");
        let good = "postgresql://u:p@h/d?sslmode=verify-full&sslrootcert=/ca.crt";
        for line in [
            "authz migrate --database-url \"$DATABASE_URL\"",
            "authz migrate --database-url=$URL",
            "    command: [migrate, --database-url, \"postgresql://docsgate:docsgate@postgres/docsgate\"]",
            "psql \"$STANDBY_URL\" -Atc 'SELECT 1'",
            &format!("psql '{good}'"),
            &format!("kubectl create secret generic x --from-literal=url='{good}'"),
            "postgresql://postgres:…@pg-onprem.internal:5432/docsgate",
            "postgres://u:p@h/d?sslmode=require",
            "postgresql://u:p@h/d?sslmode=verify-full",
        ] {
            assert!(fault(page, line).is_some(), "{line}");
        }
        for line in [
            good,
            "authz migrate --database-url-file owner.url",
            "the flag `--database-url` or the variable DATABASE_URL",
            "psql service=primary -Atc 'SELECT 1'",
            "kubectl create secret generic x --from-file=url=reader.url",
        ] {
            assert_eq!(fault(page, line), None, "{line}");
        }
        assert_eq!(fault(Path::new("compose.yaml"), "DATABASE_URL: postgresql://a:b@postgres/d"), None);
    }
}
