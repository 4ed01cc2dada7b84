import { X509Certificate } from 'node:crypto'
import { type AuditRecorder, tellAudit } from '../audit-facts.ts'
import type { Connection } from '../connections/connection.ts'
import type { Fields } from '../connections/fields.ts'
import type { ConnectionInput } from '../connections/parse.ts'
import { CertificateFiles, type LoadedCertificate } from '../credentials/certificate-files.ts'
import type { Settings } from '../engine/settings.ts'
import { ConfigError, type ConfigProblem, PoolsmithError } from '../errors.ts'
import { PEM_LABELS, pemBlocks } from '../pem-blocks.ts'
import { Secret } from '../secret.ts'
import type { StoreOptions } from '../stores/options.ts'
import { resolveConnection } from '../stores/resolve.ts'
import { withSession } from './accounts.ts'
import { nameOf } from './name-of.ts'
import { operationLog } from './recorded-log.ts'
import type { IssuedPair } from './site-command.ts'
import { writeSecret } from './write-secret.ts'

/** Options of {@link rotateCertificate}. */
export interface RotateCertificateOptions {
  /**
   * A shell command that prints a certificate with its chain and its private key, in PEM form; or a function that gives
   * them.
   */
  readonly issue:
    | string
    | ((signal: AbortSignal) => Promise<{ readonly certificate: string; readonly privateKey: string | Secret }>)
  /** Where ids are looked up. */
  readonly stores?: StoreOptions
  /** Default: the log that the record names (`audit_file`). */
  readonly audit?: AuditRecorder
  /** The person or job that orders the operation, for the audit log. */
  readonly by?: string
  /** Called when a step begins. */
  readonly onStep?: (step: CertificateStep) => void | Promise<void>
  readonly signal?: AbortSignal
}

/** `read`: the store is read. `issue`: the new one is made. `check`: key, chain and subject. `login`: with the new one. `write`. */
export type CertificateStep = 'read' | 'issue' | 'check' | 'login' | 'write'

/** The result of {@link rotateCertificate}. */
export interface CertificateRotated {
  readonly connection: string
  /** `CN=etl` */
  readonly subject: string
  /** The secret that holds it. */
  readonly place: string
  /** Milliseconds since the epoch. */
  readonly expiresAt: number
}

/**
 * Replaces the client certificate of a record that has it in a store (`sslcert_from`, `sslkey_from`). The new one is checked
 * against its key, its chain and the old one's subject, and by a login. Then both are written at once, so no reader sees
 * a certificate without its key. The server accepts both, so nothing fails; where it throws, nothing has changed.
 *
 * @throws PoolsmithError with `details.step`: ROTATION_COMMAND_FAILED, ROTATION_REFUSED, KEY_MISMATCH, CERTIFICATE_…,
 *   KEY_…, SECRET_CONFLICT, STORE_…, the errors of a login; ConfigError for a record whose certificate cannot be replaced
 *
 * @example
 * await rotateCertificate('sales', { issue: 'vault write -field=... pki/issue/etl common_name=etl' })
 */
export async function rotateCertificate(
  input: ConnectionInput,
  options: RotateCertificateOptions,
): Promise<CertificateRotated> {
  const { stores = {}, signal = new AbortController().signal, by, onStep } = options
  const { configured } = await import('./configured.ts')
  const given = await resolveConnection(input, stores)
  const { settings, environment, stores: own } = await configured(given, stores)
  const { certificate, key } = placesIn(settings)
  await using log = await operationLog(options.audit, settings.all)
  const store = own.open(certificate)
  const place = store.placeOf(certificate.path)
  const service = nameOf(given)
  let step: CertificateStep = 'read'
  const begin = async (next: CertificateStep): Promise<void> => {
    step = next
    await onStep?.(next)
  }
  const head = { kind: 'rotation', credential: 'certificate', service, by } as const
  try {
    await begin('read')
    const before = await store.read(certificate.path, signal)
    const old = new X509Certificate(before.read(certificate.field, place).reveal())
    await begin('issue')
    const issued = await issue(options.issue, { environment, signal })
    await begin('check')
    const loaded = await checked(issued, old)
    await begin('login')
    await withSession(recordOf(given, issued), { stores, signal }, async () => undefined)
    await begin('write')
    const fields = before.texts()
    fields.set(certificate.field, new Secret(issued.certificate))
    fields.set(key, issued.privateKey)
    await writeSecret(store, certificate.path, fields, { replaces: before, signal })
    const newHash = fingerprint(new X509Certificate(issued.certificate))
    await tellAudit({ ...head, outcome: 'success', oldHash: fingerprint(old), newHash }, log.recorder)
    return { connection: service, subject: loaded.subject, place, expiresAt: loaded.notAfter }
  } catch (error) {
    const code = error instanceof PoolsmithError ? error.code : undefined
    await tellAudit({ ...head, outcome: 'failure', code, step }, log.recorder)
    if (!(error instanceof PoolsmithError)) throw error
    const message = `The rotation of the certificate of ${service} stopped at the step ${step}: ${error.message}`
    throw error.with({ message, hint: `${error.hint ?? ''} Nothing has changed.`.trim(), details: { step } })
  } finally {
    store.close?.()
  }
}

async function issue(
  given: RotateCertificateOptions['issue'],
  context: { readonly environment: Readonly<Record<string, string | undefined>>; readonly signal: AbortSignal },
): Promise<IssuedPair> {
  if (typeof given === 'string') {
    const { certificateOf } = await import('./site-command.ts')
    return certificateOf(given, context)
  }
  const { certificate, privateKey } = await given(context.signal)
  return { certificate, privateKey: Secret.from(privateKey) }
}

/** The pair as a login uses it. @throws PoolsmithError KEY_MISMATCH, CERTIFICATE_…, KEY_…, ROTATION_REFUSED */
async function checked({ certificate, privateKey }: IssuedPair, old: X509Certificate): Promise<LoadedCertificate> {
  const files = new CertificateFiles({
    certificateFile: { name: 'the new certificate', text: new Secret(certificate) },
    keyFile: { name: 'the new key', text: privateKey },
  })
  const loaded = await files.load()
  const [own, ...chain] = pemBlocks(certificate, PEM_LABELS.certificates).blocks.map((pem) => new X509Certificate(pem))
  if (own === undefined) throw refused('holds no certificate')
  if (own.subject !== old.subject) throw refused(`is for ${loaded.subject}, and the old one for another subject`)
  if (own.validToDate <= old.validToDate) throw refused('does not end later than the old one')
  for (const [index, issuer] of chain.entries()) {
    const issuedBy = index === 0 ? own : chain[index - 1]
    const isSigned = issuedBy?.checkIssued(issuer) === true && issuedBy.verify(issuer.publicKey)
    if (!isSigned) throw refused(`has a chain whose certificate ${index + 2} did not sign the one before it`)
  }
  return loaded
}

function refused(what: string): PoolsmithError {
  return new PoolsmithError(`The new certificate ${what}.`, {
    code: 'ROTATION_REFUSED',
    phase: 'credential',
    hint: 'Correct the command that makes it.',
  })
}

/** The record with the new pair in it, in place of references. */
function recordOf({ extra, ...parts }: Connection, { certificate, privateKey }: IssuedPair): ConnectionInput {
  const { sslcert_from: _certificate, sslkey_from: _key, ...rest } = extra
  return { ...parts, extra: { ...rest, sslcert: certificate, sslkey: privateKey } }
}

function fingerprint({ fingerprint256 }: X509Certificate): string {
  return fingerprint256.replaceAll(':', '').toLowerCase()
}

/** @throws ConfigError */
function placesIn({ strategy, references, all }: Settings<Fields>) {
  const problems: ConfigProblem[] = []
  const say = (path: string, message: string): void => void problems.push({ path, message })
  const certificate = references.get('sslcert')?.reference
  const key = references.get('sslkey')?.reference
  if (strategy.name !== 'ssl_cert') say('extra.auth_method', `is ${strategy.name}; a client certificate needs ssl_cert`)
  const field = certificate?.field
  if (certificate === undefined || field === undefined) {
    say('extra.sslcert_from', 'must name a field of a secret in a store that can be written')
  }
  if (key?.field === undefined || key.scheme !== certificate?.scheme || key.path !== certificate.path) {
    say('extra.sslkey_from', 'must name a field of the same secret as sslcert_from, so that both are written at once')
  }
  if (all['sslpassword'] !== undefined || references.has('sslpassword')) {
    say('extra.sslpassword', 'is for an encrypted key; the new key is written as the command prints it, unencrypted')
  }
  if (problems.length > 0 || certificate === undefined || field === undefined || key?.field === undefined) {
    const hint = 'docs/rotation.md says what a rotation needs.'
    throw new ConfigError(problems, { subject: 'The rotation', hint })
  }
  return { certificate: { ...certificate, field }, key: key.field }
}
