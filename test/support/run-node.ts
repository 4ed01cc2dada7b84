import { spawn } from 'node:child_process'
import { once } from 'node:events'

const LIMIT_MILLIS = 400_000

/** Runs this Node with an environment of its own, and gives its exit code and all that it said. */
export async function runNode(
  args: readonly string[],
  { cwd, env }: { readonly cwd?: string; readonly env: NodeJS.ProcessEnv },
): Promise<{ readonly code: number | null; readonly said: string }> {
  const child = spawn(process.execPath, args, {
    cwd,
    env: { PATH: process.env['PATH'], TZ: 'UTC', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: LIMIT_MILLIS,
    killSignal: 'SIGKILL',
  })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      said += chunk
    })
  }
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, said }
}
