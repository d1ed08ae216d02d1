//! `authz token …`: a development issuer, and why a token would be refused.

use std::{
    io::Write,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

use anyhow::{Context, Result, bail};
use authz_core::{
    identity::{PresentedToken, TokenSource, jwks::KeySet, token},
    policy::{compile, diagnostic},
    time::{Timestamp, parse_duration},
};
use aws_lc_rs::{rand::SystemRandom, signature::Ed25519KeyPair};
use axum::{Router, http::header, response::IntoResponse, routing::get};
use base64::{Engine, prelude::BASE64_STANDARD};
use clap::{Args, Subcommand};
use docsgate_service::exit::UsageError;
use docsgate_service::{
    logs::{self, LogFormat},
    ready_file, signals,
};
use jsonwebtoken::{
    Algorithm, EncodingKey, Header,
    jwk::{Jwk, ThumbprintHash},
};
use sha2::{Digest, Sha256};

use super::Output;
use crate::policy_source;

/// Development tokens.
#[derive(Debug, Args)]
pub struct TokenArgs {
    #[command(subcommand)]
    action: TokenAction,
}

#[derive(Debug, Subcommand)]
enum TokenAction {
    /// Serve the public part of a key as a JWKS (development).
    Issuer(IssuerArgs),
    /// Sign a member token (development).
    Mint(MintArgs),
    /// Say what a token says and whether a policy would accept it.
    Inspect(InspectArgs),
}

#[derive(Debug, Args)]
struct IssuerArgs {
    /// Where to listen.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The private key: PKCS#8 in PEM, Ed25519, P-256 or RSA.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Make an Ed25519 key if the file is missing.
    #[arg(long)]
    generate: bool,
    /// Written once the listener is bound.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// How log lines look.
    #[arg(long, value_enum, default_value_t = LogFormat::Json)]
    log_format: LogFormat,
}

#[derive(Debug, Args)]
struct MintArgs {
    /// The private key: PKCS#8 in PEM.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// `iss`
    #[arg(long, value_name = "URL")]
    issuer: String,
    /// `aud`
    #[arg(long)]
    audience: String,
    /// `sub`
    #[arg(long)]
    subject: String,
    /// How long it lives, such as 90s, 10m or 1h; a leading minus makes one that has expired.
    #[arg(long, default_value = "1h", allow_hyphen_values = true)]
    ttl: String,
    /// Further claims, NAME=VALUE; a value that is JSON is taken as JSON.
    #[arg(long = "claim", value_name = "NAME=VALUE")]
    claims: Vec<String>,
}

#[derive(Debug, Args)]
struct InspectArgs {
    /// The token, or - to read it from standard input.
    #[arg(value_name = "TOKEN", default_value = "-")]
    token: String,
    /// The policy that would judge it.
    #[arg(long, env = "DOCSGATE_POLICY", value_name = "PATH", requires = "jwks")]
    policy: Option<PathBuf>,
    /// The issuer's key set.
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Runs `authz token …`.
///
/// # Errors
/// [`UsageError`] for unusable arguments, others for what fails.
pub async fn run(args: &TokenArgs) -> Result<ExitCode> {
    match &args.action {
        TokenAction::Issuer(args) => issuer(args).await,
        TokenAction::Mint(args) => mint(args),
        TokenAction::Inspect(args) => inspect(args),
    }
}

/// A signing key, its algorithm and its public part.
struct SigningKey {
    key: EncodingKey,
    algorithm: Algorithm,
    jwk: Jwk,
}

impl SigningKey {
    fn load(path: &Path) -> Result<Self> {
        let pem = std::fs::read(path).with_context(|| format!("--key {}", path.display()))?;
        let found = EncodingKey::from_ed_pem(&pem)
            .map(|key| (key, Algorithm::EdDSA))
            .or_else(|_| EncodingKey::from_ec_pem(&pem).map(|key| (key, Algorithm::ES256)))
            .or_else(|_| EncodingKey::from_rsa_pem(&pem).map(|key| (key, Algorithm::RS256)));
        let Ok((key, algorithm)) = found else {
            bail!(UsageError(format!(
                "--key {}: expected a private key in PEM (PKCS#8): Ed25519, P-256 or RSA",
                path.display()
            )));
        };
        let mut jwk = Jwk::from_encoding_key(&key, algorithm).context("the public part of the key")?;
        jwk.common.public_key_use = Some(jsonwebtoken::jwk::PublicKeyUse::Signature);
        jwk.common.key_id = Some(jwk.thumbprint(ThumbprintHash::SHA256).context("the key's thumbprint")?);
        Ok(Self { key, algorithm, jwk })
    }
}

/// A new Ed25519 key, readable by its owner only.
fn generate(path: &Path) -> Result<()> {
    let key = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).context("no key can be made")?;
    let base64 = BASE64_STANDARD.encode(key.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n");
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(pem.as_bytes())).with_context(|| format!("--key {}", path.display()))
}

async fn issuer(args: &IssuerArgs) -> Result<ExitCode> {
    logs::start(args.log_format);
    if args.generate && !args.key.exists() {
        generate(&args.key)?;
    }
    let key = SigningKey::load(&args.key)?;
    let body = serde_json::json!({"keys": [key.jwk]}).to_string();
    let etag = format!("\"{:x}\"", Sha256::digest(&body));
    let serve = move |headers: axum::http::HeaderMap| {
        let known = headers.get(header::IF_NONE_MATCH).is_some_and(|sent| sent.as_bytes() == etag.as_bytes());
        let lines = [
            (header::CACHE_CONTROL, "max-age=30".to_owned()),
            (header::ETAG, etag.clone()),
            (header::CONTENT_TYPE, "application/jwk-set+json".to_owned()),
        ];
        let answer = if known {
            (axum::http::StatusCode::NOT_MODIFIED, lines).into_response()
        } else {
            (lines, body.clone()).into_response()
        };
        std::future::ready(answer)
    };
    let router = Router::new().route("/.well-known/jwks.json", get(serve)).route("/healthz", get(|| async { "ok\n" }));
    let listener =
        tokio::net::TcpListener::bind(args.listen).await.with_context(|| format!("--listen {}", args.listen))?;
    let address = listener.local_addr()?.to_string();
    tracing::info!(address, "development issuer");
    // Signals are caught before anybody is told that the process is up.
    let ended = signals::ended()?;
    if let Some(path) = &args.ready_file {
        ready_file::write(path, &[("http", address)])?;
    }
    axum::serve(listener, router).with_graceful_shutdown(ended).await?;
    Ok(ExitCode::SUCCESS)
}

fn mint(args: &MintArgs) -> Result<ExitCode> {
    let key = SigningKey::load(&args.key)?;
    let now = i64::try_from(now().seconds()).unwrap_or(i64::MAX);
    let mut claims = serde_json::json!({
        "iss": args.issuer, "aud": args.audience, "sub": args.subject,
        "iat": now, "exp": now + seconds(&args.ttl)?, "jti": uuid::Uuid::now_v7().to_string(),
    });
    for claim in &args.claims {
        let (name, value) =
            claim.split_once('=').ok_or_else(|| UsageError(format!("--claim {claim}: expected NAME=VALUE")))?;
        if let Some(claims) = claims.as_object_mut() {
            claims.insert(name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.into()));
        }
    }
    let mut header = Header::new(key.algorithm);
    header.kid.clone_from(&key.jwk.common.key_id);
    writeln!(
        std::io::stdout(),
        "{}",
        jsonwebtoken::encode(&header, &claims, &key.key).context("the token cannot be signed")?
    )?;
    Ok(ExitCode::SUCCESS)
}

fn seconds(text: &str) -> Result<i64, UsageError> {
    let (sign, rest) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let duration = parse_duration(rest).map_err(|fault| UsageError(format!("--ttl {text}: {fault}")))?;
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    Ok(sign * seconds)
}

/// What a token says, unverified, and whether it would be accepted.
fn inspect(args: &InspectArgs) -> Result<ExitCode> {
    let text = if args.token == "-" { std::io::read_to_string(std::io::stdin())? } else { args.token.clone() };
    let text = text.trim();
    let part = |index: usize| {
        let bytes =
            text.split('.').nth(index).and_then(|part| base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(part).ok())?;
        serde_json::from_slice::<serde_json::Value>(&bytes).ok()
    };
    let verdict = judge(args, text)?;
    let accepted = verdict.as_ref().is_some_and(Result::is_ok);
    let said = match &verdict {
        None => "not judged: give --policy and --jwks".to_owned(),
        Some(Ok(name)) => format!("accepted as a token of issuer `{name}`"),
        Some(Err(reason)) => format!("refused: {reason}"),
    };
    let mut out = std::io::stdout();
    match args.output {
        Output::Text => {
            for (name, index) in [("header", 0), ("claims", 1)] {
                let value = part(index).map_or_else(|| "not base64url JSON".to_owned(), |value| format!("{value:#}"));
                writeln!(out, "{name}: {value}")?;
            }
            writeln!(out, "{said}")?;
        }
        Output::Json => {
            let value = serde_json::json!({"header": part(0), "claims": part(1), "accepted": verdict.is_some().then_some(accepted), "verdict": said});
            writeln!(out, "{value}")?;
        }
    }
    Ok(if verdict.is_some() && !accepted { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// The very function that verifies members, for each issuer of the policy and each of its sources.
fn judge(args: &InspectArgs, text: &str) -> Result<Option<Result<String, String>>> {
    let (Some(policy), Some(jwks)) = (&args.policy, &args.jwks) else { return Ok(None) };
    let files = policy_source::read(policy).map_err(UsageError)?;
    let compiled = compile(&files, &policy_source::overrides_of_environment())
        .map_err(|findings| UsageError(diagnostic::render(&findings)))?;
    let keys = std::fs::read(jwks).with_context(|| format!("--jwks {}", jwks.display()))?;
    let keys = KeySet::parse(&keys).map_err(|fault| UsageError(format!("--jwks {}: {fault}", jwks.display())))?;
    let claimed = match token::claimed_issuer(text) {
        Ok(claimed) => claimed,
        Err(fault) => return Ok(Some(Err(fault.to_string()))),
    };
    let Some(issuer) = compiled.snapshot.issuers.iter().find(|issuer| issuer.issuer == claimed) else {
        return Ok(Some(Err(format!("no issuer of the policy has the `iss` {claimed}"))));
    };
    let fallback = TokenSource::Header("authorization".to_owned());
    let source = issuer.token_from.first().unwrap_or(&fallback);
    let verdict = token::verify(PresentedToken { text, source }, &keys, issuer, now());
    Ok(Some(verdict.map(|_| issuer.name.to_string()).map_err(|fault| fault.to_string())))
}

fn now() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}
