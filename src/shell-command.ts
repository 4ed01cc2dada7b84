/** Commands of a site that print something for us: a key, a password. */

import { spawn } from 'node:child_process'
import { onAbort } from './abort.ts'
import { errorCode } from './any-error.ts'

export interface ShellCommand {
  /** A text for the shell, or a program with its arguments, which runs without one. */
  readonly command: string | readonly [string, ...string[]]
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly signal: AbortSignal
  readonly limitMillis: number
  readonly longestBytes: number
  /** The error of a command that fails; the text completes a sentence that begins with the command. */
  readonly failed: (what: string, isTransient: boolean) => Error
}

/**
 * The standard output of a shell command. Its standard error, which may show secrets, is dropped.
 *
 * @throws what `failed` gives; the reason of the signal
 */
export async function shellOutput(options: ShellCommand): Promise<string> {
  const { command, environment, signal, limitMillis, longestBytes, failed } = options
  const limit = AbortSignal.timeout(limitMillis)
  const [program, ...given] = typeof command === 'string' ? [command] : command
  const child = spawn(program, given, {
    shell: typeof command === 'string',
    // A group of its own, so that what the shell has started ends with it.
    detached: process.platform !== 'win32',
    env: { ...environment },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  let text = ''
  const stop = (): void => {
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
      if (process.platform === 'win32') child.kill()
      else killGroup(child.pid)
    }
    // A program that the shell has left behind, or that has left the group, may hold the pipe for ever.
    child.stdout.destroy()
  }
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
    if (text.length > longestBytes) stop()
  })
  using _signal = onAbort(signal, stop)
  using _limit = onAbort(limit, stop)
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', (error) =>
      reject(failed(`could not be started (${errorCode(error) ?? 'unknown error'})`, false)),
    )
    child.once('close', resolve)
  })
  signal.throwIfAborted()
  if (limit.aborted) throw failed(`did not end within ${limitMillis / 1000} s`, true)
  if (text.length > longestBytes) throw failed(`printed more than ${longestBytes} bytes`, false)
  if (code !== 0) throw failed(`failed (exit code ${code})`, true)
  return text
}

function killGroup(leader: number): void {
  try {
    process.kill(-leader, 'SIGKILL')
  } catch (error) {
    // It has ended, and Node has not told of it yet.
    if (errorCode(error) !== 'ESRCH') throw error
  }
}
