import { type AuditRecorder, tellAudit } from '../audit-facts.ts'
import type { Fields } from '../connections/fields.ts'
import type { ConnectionInput } from '../connections/parse.ts'
import type { Settings } from '../engine/settings.ts'
import { ConfigError, type ConfigProblem, PoolsmithError } from '../errors.ts'
import { Secret } from '../secret.ts'
import type { StoreOptions } from '../stores/options.ts'
import { resolveConnection } from '../stores/resolve.ts'
import { generatePassword } from './generate-password.ts'
import type { KeytabStep } from './keytab-rotation.ts'
import { nameOf } from './name-of.ts'
import { operationLog } from './recorded-log.ts'
import type { KeytabProgram } from './site-command.ts'

/** Options of {@link rotateKeytab}. */
export interface RotateKeytabOptions {
  /** Where ids are looked up. */
  readonly stores?: StoreOptions
  /**
   * A program with its arguments that gives the principal a new key and writes it into a keytab, without a shell and within
   * 60 s. `{keytab}` in them is the path of the keytab, a copy of the present one, and `{principal}` the principal. Default: a
   * random password by the protocol of RFC 3244, from which the keys are derived.
   */
  readonly command?: readonly string[]
  /** Makes a password by the policy of the realm, where there is no command. Default: 32 letters, digits and `-_.~`. */
  readonly generate?: () => string | Secret | Promise<string | Secret>
  /**
   * How long a ticket may be in use after its key was replaced, in seconds: as long old versions stay in the keytab.
   * Default 90,000, an hour more than the day that tickets of MIT's KDC live at most.
   */
  readonly keepOldSeconds?: number
  /** Only removes the versions of earlier rotations that no ticket can need. Default false: a rotation does so too. */
  readonly onlyClean?: boolean
  /** Default: the log that the record names (`audit_file`). */
  readonly audit?: AuditRecorder
  /** The person or job that orders the operation, for the audit log. */
  readonly by?: string
  /** Called when a step begins. */
  readonly onStep?: (step: KeytabStep) => void | Promise<void>
  readonly signal?: AbortSignal
}

/** The result of {@link rotateKeytab}. */
export interface KeytabRotated {
  readonly connection: string
  readonly principal: string
  /** The path of the keytab. */
  readonly place: string
  /** The newest key version. */
  readonly kvno: number
  /** All versions that the keytab holds for the principal. */
  readonly versions: readonly number[]
  /** Whether it went on where an earlier rotation had stopped. */
  readonly resumed: boolean
}

/**
 * Gives the principal of a keytab (`keytab`) a new key, while pools obtain tickets with it. The KDC has the new key a moment
 * before the keytab does; in this moment pools try the one that stands beside the keytab. The same call goes on after a
 * failure or a kill; docs/rotation.md has the states.
 *
 * @throws PoolsmithError with `details.step`, the step at which it stands: ROTATION_RUNNING, ROTATION_REFUSED,
 *   ROTATION_STUCK, ROTATION_COMMAND_FAILED, KEYTAB_…, KDC_…; ConfigError for a record whose keytab cannot be rotated
 *
 * @example
 * await rotateKeytab('sales')
 * await rotateKeytab('sales', { command: ['msktutil', '--update', '--keytab', '{keytab}'] })
 */
export async function rotateKeytab(input: ConnectionInput, options: RotateKeytabOptions = {}): Promise<KeytabRotated> {
  const { stores = {}, signal = new AbortController().signal, by, command } = options
  const { configured } = await import('./configured.ts')
  const { keysHash, newestVersion } = await import('../kerberos/keytab-file.ts')
  const { KeytabFiles } = await import('./keytab-files.ts')
  const { KeytabRotation } = await import('./keytab-rotation.ts')
  const given = await resolveConnection(input, stores)
  const { settings, environment, stores: own } = await configured(given, stores)
  own.close()
  const files = new KeytabFiles(await pathIn(settings, options))
  await using log = await operationLog(options.audit, settings.all)
  const rotation = new KeytabRotation({
    files,
    principal: await principalIn(settings),
    runCommand: command && ((principal) => runProgram(command, { keytab: files.next, principal, environment, signal })),
    generate: async () => Secret.from(await (options.generate ?? generatePassword)()),
    keepSeconds: options.keepOldSeconds ?? 90_000,
    isCleaning: options.onlyClean === true,
    signal,
    onStep: options.onStep ?? (() => undefined),
  })
  const service = nameOf(given)
  const started = performance.now()
  const tell = (facts: object): Promise<void> => {
    const durationMillis = performance.now() - started
    const head = { kind: 'rotation', credential: 'keytab', service, by, durationMillis } as const
    return tellAudit({ ...head, outcome: 'success', ...facts }, log.recorder)
  }
  try {
    const { principal, before, after, resumed } = await rotation.run()
    await tell({ oldHash: keysHash(before, principal), newHash: keysHash(after, principal) })
    const own = after.filter((entry) => entry.principal === principal).map(({ kvno }) => kvno)
    const versions = [...new Set(own)].sort((a, b) => a - b)
    const kvno = newestVersion(after, principal) ?? 0
    return { connection: service, principal, place: files.path, kvno, versions, resumed }
  } catch (error) {
    const { step } = rotation
    await tell({ outcome: 'failure', code: error instanceof PoolsmithError ? error.code : undefined, step })
    if (!(error instanceof PoolsmithError)) throw error
    const isFinal = ['ROTATION_REFUSED', 'ROTATION_STUCK', 'ROTATION_RUNNING'].includes(error.code)
    const state = isFinal ? '' : ` ${command === undefined ? AFTER[step] : AFTER_COMMAND[step]} Run the same again.`
    throw error.with({
      message: `The rotation of the keytab of ${service} stopped at the step ${step}: ${error.message}`,
      hint: `${error.hint ?? ''}${state}`.trim(),
      details: { step },
    })
  }
}

async function runProgram(command: readonly string[], program: KeytabProgram): Promise<void> {
  const { runKeytabProgram } = await import('./site-command.ts')
  await runKeytabProgram(command, program)
}

const IS_NEW = 'The KDC has the new key, which stands beside the keytab, where pools find it.'

const AFTER: Readonly<Record<KeytabStep, string>> = {
  read: 'Nothing has changed.',
  login: 'Nothing has changed.',
  pending: 'The key of the keytab works.',
  alter: 'The key of the keytab works, or the new one, which stands beside it, where pools find it.',
  keys: IS_NEW,
  verify: IS_NEW,
  promote: IS_NEW,
}

const AFTER_COMMAND: typeof AFTER = {
  ...AFTER,
  alter: 'The key of the keytab works, unless the command has changed it at the KDC.',
}

/** In full. */
async function principalIn({ all }: Settings<Fields>): Promise<string | undefined> {
  const named = all['principal']
  if (typeof named !== 'string') return undefined
  const { Krb5 } = await import('../kerberos/native/krb5.ts')
  using krb5 = await Krb5.open()
  return krb5.principal(named)
}

/** @throws ConfigError */
async function pathIn({ strategy, all }: Settings<Fields>, options: RotateKeytabOptions): Promise<string> {
  const { keytabPath } = await import('../kerberos/pending-key.ts')
  const { command, generate, keepOldSeconds = 0, onlyClean } = options
  const problems: ConfigProblem[] = []
  const say = (path: string, message: string): void => void problems.push({ path, message })
  const { keytab } = all
  const path = typeof keytab === 'string' ? keytabPath(keytab) : undefined
  if (strategy.name !== 'kerberos') say('extra.auth_method', `is ${strategy.name}; a keytab needs kerberos`)
  else if (keytab === undefined) say('extra.keytab', 'missing; which keytab is it?')
  else if (path === undefined) say('extra.keytab', 'is no file; only a keytab in a file is rotated')
  if (command !== undefined) {
    const isVector = Array.isArray(command) && command.every((one) => typeof one === 'string') && command[0] !== ''
    if (!isVector || !command.some((one) => one.includes('{keytab}'))) {
      say('options.command', 'expected a program and its arguments as a list, one of them with {keytab}')
    }
    if (generate !== undefined) say('options.generate', 'has no effect beside a command')
    if (onlyClean === true) say('options.onlyClean', 'has no effect beside a command')
  }
  if (!(keepOldSeconds >= 0 && keepOldSeconds <= 31_536_000)) {
    say('options.keepOldSeconds', 'expected a number of seconds from 0 to 31536000')
  }
  if (problems.length === 0 && path !== undefined) return path
  throw new ConfigError(problems, { subject: 'The rotation', hint: 'docs/rotation.md says what a rotation needs.' })
}
