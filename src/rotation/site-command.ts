import { PoolsmithError } from '../errors.ts'
import { Secret } from '../secret.ts'
import { shellOutput } from '../shell-command.ts'

const LIMITS = { limitMillis: 60_000, longestBytes: 64 * 1024 }

/**
 * The one line that a command of the site prints, as a password.
 *
 * @throws PoolsmithError ROTATION_COMMAND_FAILED, which never shows the output; the reason of the signal
 */
export async function passwordOf(
  command: string,
  environment: Readonly<Record<string, string | undefined>>,
  signal: AbortSignal,
): Promise<Secret> {
  const text = await shellOutput({ command, environment, signal, failed, ...LIMITS })
  const line = text.replace(/\r?\n$/, '')
  if (line === '') throw failed('printed nothing')
  if (/[\0\r\n]/.test(line)) throw failed('printed more than one line')
  return new Secret(line)
}

function failed(what: string, transient = false): PoolsmithError {
  return new PoolsmithError(`The command that makes the password ${what}.`, {
    code: 'ROTATION_COMMAND_FAILED',
    phase: 'credential',
    transient,
    hint: 'Run it by hand as this user to see why. It has to print the password alone, and must not ask for anything.',
  })
}
