import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Trace extends AsyncDisposable {
  /** What has been traced so far, one step to a line. */
  lines(): Promise<string[]>
}

/**
 * Lets MIT's library tell each of its steps (`KRB5_TRACE`). It looks at the environment whenever it begins an
 * operation, and so this holds for the whole process until it is disposed of: for a command, not for a service.
 */
export async function startTrace(): Promise<Trace> {
  const folder = await mkdtemp(join(tmpdir(), 'poolsmith-trace-'))
  const file = join(folder, 'trace')
  const before = process.env.KRB5_TRACE
  process.env.KRB5_TRACE = file
  return {
    lines: async () => readTrace(await readFile(file, 'utf8').catch(() => '')),
    [Symbol.asyncDispose]: async () => {
      if (before === undefined) delete process.env.KRB5_TRACE
      else process.env.KRB5_TRACE = before
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** `[4711] 1795396180.123456: Getting credentials …`: its times count up within a second, and say nothing. */
export function readTrace(text: string): string[] {
  return text.split('\n').flatMap((line) => {
    const words = /^\[\d+\] \d+\.\d+: (.*)$/.exec(line)?.[1]
    return words === undefined ? [] : [words]
  })
}
