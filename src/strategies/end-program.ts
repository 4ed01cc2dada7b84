import type { ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'

/**
 * Ends a program and, on Linux, all that it has started: a shell that runs a script would leave the script's own program
 * behind, which goes on and holds the pipes open.
 */
export function endProgram(program: ChildProcess): void {
  const { pid } = program
  if (pid === undefined) {
    // Not started yet: the channel tells of it before.
    program.once('spawn', () => endProgram(program))
    return
  }
  for (const each of [...descendantsOf(pid), pid]) end(each)
  // Without them, a program that we could not end would keep this process alive.
  program.stdout?.destroy()
  program.stderr?.destroy()
  program.unref()
}

function end(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended by itself.
  }
}

function descendantsOf(pid: number): number[] {
  if (process.platform !== 'linux') return []
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim()
    return children
      .split(' ')
      .filter(Boolean)
      .map(Number)
      .flatMap((child) => [...descendantsOf(child), child])
  } catch {
    // It has ended by itself, or this kernel does not list children.
    return []
  }
}
