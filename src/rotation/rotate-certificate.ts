import { X509Certificate } from 'node:crypto'
import { join } from 'node:path'
import { type AuditRecorder, tellAudit } from '../audit-facts.ts'
import type { Connection } from '../connections/connection.ts'
import { homeFolder } from '../connections/fields.ts'
import type { ConnectionInput } from '../connections/parse.ts'
import type { LoadedCertificate } from '../credentials/certificate-files.ts'
import { ConfigError, type ConfigProblem, PoolsmithError } from '../errors.ts'
import { PEM_LABELS, pemBlocks } from '../pem-blocks.ts'
import { Secret } from '../secret.ts'
import type { StoreOptions } from '../stores/options.ts'
import { resolveConnection } from '../stores/resolve.ts'
import { withSession } from './accounts.ts'
import type { CertificatePlace, CertificateStep } from './certificate-place.ts'
import type { Configured } from './configured.ts'
import { nameOf } from './name-of.ts'
import { operationLog } from './recorded-log.ts'
import type { IssuedPair } from './site-command.ts'

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

/** The result of {@link rotateCertificate}. */
export interface CertificateRotated {
  readonly connection: string
  /** `CN=etl` */
  readonly subject: string
  /** The secret, or the files, that hold it. */
  readonly place: string
  /** Milliseconds since the epoch. */
  readonly expiresAt: number
  /** Whether it went on where an earlier rotation had stopped: between two files. */
  readonly resumed: boolean
}

/**
 * Replaces the client certificate of a record that has it in a store (`sslcert_from`, `sslkey_from`) or in files (`sslcert`,
 * `sslkey`). The new one is checked against its key, its chain and the old one's subject, and by a login. A secret is then
 * written at once. Of two files the key is replaced first; until the certificate is, pools find the new one beside it. The
 * server accepts both pairs, so nothing fails. The same call goes on after a failure or a kill.
 *
 * @throws PoolsmithError with `details.step`: ROTATION_COMMAND_FAILED, ROTATION_REFUSED, KEY_MISMATCH, CERTIFICATE_…,
 *   KEY_…, CERTIFICATE_FILE_REFUSED, ROTATION_RUNNING, SECRET_CONFLICT, STORE_…, the errors of a login; ConfigError for a record whose certificate cannot be replaced
 *
 * @example
 * await rotateCertificate('sales', { issue: 'issue-certificate etl' }) // prints certificate, chain and key
 */
export async function rotateCertificate(
  input: ConnectionInput,
  options: RotateCertificateOptions,
): Promise<CertificateRotated> {
  const { stores = {}, signal = new AbortController().signal, by, onStep } = options
  const { configured } = await import('./configured.ts')
  const given = await resolveConnection(input, stores)
  const record = await configured(given, stores)
  const { settings, environment } = record
  using _stores = { [Symbol.dispose]: () => record.stores.close() }
  await using place = await placeIn(record)
  await using log = await operationLog(options.audit, settings.all)
  const service = nameOf(given)
  let step = 'read' as CertificateStep
  const begin = async (next: CertificateStep): Promise<void> => {
    step = next
    await onStep?.(next)
  }
  const head = { kind: 'rotation', credential: 'certificate', service, by } as const
  try {
    await begin('read')
    const old = await place.read(signal)
    const left = await place.left()
    const resumed = left !== undefined && (await checked(left, old).then(yes, no))
    if (!resumed) await begin('issue')
    const issued = resumed ? left : await issue(options.issue, { environment, signal })
    await begin('check')
    const loaded = await checked(issued, old)
    await begin('login')
    await withSession(recordOf(given, issued), { stores, signal }, async () => undefined)
    await place.write(issued, begin, signal)
    const newHash = fingerprint(new X509Certificate(issued.certificate))
    await tellAudit({ ...head, outcome: 'success', oldHash: fingerprint(old), newHash }, log.recorder)
    return { connection: service, subject: loaded.subject, place: place.name, expiresAt: loaded.notAfter, resumed }
  } catch (error) {
    const code = error instanceof PoolsmithError ? error.code : undefined
    await tellAudit({ ...head, outcome: 'failure', code, step }, log.recorder)
    if (!(error instanceof PoolsmithError)) throw error
    const message = `The rotation of the certificate of ${service} stopped at the step ${step}: ${error.message}`
    const state = step === 'key' || step === 'certificate' ? BETWEEN : 'Nothing has changed.'
    throw error.with({ message, hint: `${error.hint ?? ''} ${state}`.trim(), details: { step } })
  }
}

const BETWEEN =
  'The old pair or the new one is in use; the new one stands beside the old one, where pools find it. Run the same again.'

const yes = (): true => true
/** It does not fit, or has ended: another one is issued. */
const no = (): false => false

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
  const { CertificateFiles } = await import('../credentials/certificate-files.ts')
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
async function placeIn({ settings, stores }: Configured): Promise<CertificatePlace> {
  const { strategy, references, all } = settings
  const problems: ConfigProblem[] = []
  const say = (path: string, message: string): void => void problems.push({ path, message })
  const certificate = references.get('sslcert')?.reference
  const key = references.get('sslkey')?.reference
  if (strategy.name !== 'ssl_cert') say('extra.auth_method', `is ${strategy.name}; a client certificate needs ssl_cert`)
  for (const option of ['sslcert', 'sslkey'] as const) {
    if (all[option] instanceof Secret) say(`extra.${option}`, 'is in the record itself; keep it in a file or a store')
  }
  const isStored = certificate !== undefined || key !== undefined
  if (isStored && certificate?.field === undefined) {
    say('extra.sslcert_from', 'must name a field of a secret in a store that can be written')
  }
  if (isStored && (key?.field === undefined || key.scheme !== certificate?.scheme || key.path !== certificate.path)) {
    say('extra.sslkey_from', 'must name a field of the same secret as sslcert_from, so that both are written at once')
  }
  if (all['sslpassword'] !== undefined || references.has('sslpassword')) {
    say('extra.sslpassword', 'is for an encrypted key; the new key is written as the command prints it, unencrypted')
  }
  if (problems.length > 0) {
    const hint = 'docs/rotation.md says what a rotation needs.'
    throw new ConfigError(problems, { subject: 'The rotation', hint })
  }
  if (certificate?.field === undefined || key?.field === undefined) {
    const { CertificateInFiles } = await import('./certificate-in-files.ts')
    const folder = join(homeFolder(), '.postgresql')
    const fileOf = (option: string, name: string): string => String(all[option] ?? join(folder, name))
    return new CertificateInFiles(fileOf('sslcert', 'postgresql.crt'), fileOf('sslkey', 'postgresql.key'))
  }
  const { StoredCertificate } = await import('./stored-certificate.ts')
  const fields = { certificate: certificate.field, key: key.field }
  return new StoredCertificate(stores.open(certificate), certificate.path, fields)
}
