import { PoolsmithError } from '../errors.ts'
import { PEM_LABELS, pemBlocks } from '../pem-blocks.ts'
import { printable } from '../printable.ts'
import { Secret } from '../secret.ts'
import { shellOutput } from '../shell-command.ts'

const LIMITS = { limitMillis: 60_000, longestBytes: 64 * 1024 }

interface CommandContext {
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly signal: AbortSignal
}

/**
 * The one line that a command of the site prints, as a password.
 *
 * @throws PoolsmithError ROTATION_COMMAND_FAILED, which never shows the output; the reason of the signal
 */
export async function passwordOf(command: string, context: CommandContext): Promise<Secret> {
  const failed = failedAs('the password')
  const text = await shellOutput({ command, ...context, failed, ...LIMITS })
  const line = text.replace(/\r?\n$/, '')
  if (line === '') throw failed('printed nothing')
  if (/[\0\r\n]/.test(line)) throw failed('printed more than one line')
  return new Secret(line)
}

/** A certificate with its chain, and its private key, in PEM form. */
export interface IssuedPair {
  readonly certificate: string
  readonly privateKey: Secret
}

/**
 * The certificate and the key that a command of the site prints, in PEM form and in any order.
 *
 * @throws as {@link passwordOf}
 */
export async function certificateOf(command: string, context: CommandContext): Promise<IssuedPair> {
  const failed = failedAs('the certificate and its key')
  const text = await shellOutput({ command, ...context, failed, ...LIMITS })
  const certificates = pemBlocks(text, PEM_LABELS.certificates)
  const keys = pemBlocks(text, PEM_LABELS.key)
  const [key] = keys.blocks
  if (certificates.blocks.length === 0 || !certificates.complete) throw failed('printed no whole certificate')
  if (key === undefined || keys.blocks.length > 1 || !keys.complete) throw failed('did not print one private key')
  const lines = certificates.blocks.map((block) => `${block}\n`)
  return { certificate: lines.join(''), privateKey: new Secret(`${key}\n`) }
}

/** {@link runKeytabProgram} */
export interface KeytabProgram extends CommandContext {
  /** The keytab that takes the new key. */
  readonly keytab: string
  readonly principal: string
}

/**
 * Runs a program of the site that gives a principal a new key and puts it into a keytab. `{keytab}` and `{principal}` in
 * its arguments are replaced. No shell reads them.
 *
 * @throws PoolsmithError ROTATION_COMMAND_FAILED; the reason of the signal
 */
export async function runKeytabProgram(
  [program = '', ...given]: readonly string[],
  { keytab, principal, ...context }: KeytabProgram,
): Promise<void> {
  const filled = given.map((one) => one.replaceAll('{keytab}', () => keytab).replaceAll('{principal}', () => principal))
  const hint = 'Run it by hand as this user to see why. It must not ask for anything.'
  const failed = (what: string, transient: boolean): PoolsmithError =>
    new PoolsmithError(`The command ${printable(program)} that makes the new key ${what}.`, {
      code: 'ROTATION_COMMAND_FAILED',
      phase: 'credential',
      transient,
      hint,
    })
  await shellOutput({ command: [program, ...filled], ...context, failed, ...LIMITS })
}

function failedAs(made: string): (what: string, transient?: boolean) => PoolsmithError {
  return (what, transient = false) =>
    new PoolsmithError(`The command that makes ${made} ${what}.`, {
      code: 'ROTATION_COMMAND_FAILED',
      phase: 'credential',
      transient,
      hint: `Run it by hand as this user to see why. It has to print ${made} alone, and must not ask for anything.`,
    })
}
