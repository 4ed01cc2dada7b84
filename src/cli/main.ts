#!/usr/bin/env node
import { exitAtOnce } from '../kerberos/native/flock.ts'
import { callsInFlight } from '../kerberos/native/load.ts'
import { nodeProblem } from '../node-version.ts'
import { EXIT_CODES, PHASE_EXIT_CODES } from './exit-codes.ts'
import { run } from './run.ts'
import { Screen } from './terminal.ts'

const problem = nodeProblem(process.versions.node)
if (problem !== undefined) {
  process.stderr.write(`${problem}\n`)
  process.exit(EXIT_CODES.unexpected)
}

const abort = new AbortController()
let exitCodeOfSignal: number | undefined

function onSignal(exitCode: number): void {
  // A second Ctrl-C ends the program without waiting.
  if (exitCodeOfSignal !== undefined) process.exit(exitCode)
  exitCodeOfSignal = exitCode
  abort.abort()
}
process.on('SIGINT', () => onSignal(EXIT_CODES.interrupted))
process.on('SIGTERM', () => onSignal(EXIT_CODES.terminated))
process.on('SIGHUP', () => onSignal(EXIT_CODES.hungUp))
// Each command shows the engine's warnings itself.
const [out, log] = [new Screen(process.stdout), new Screen(process.stderr)]
process.removeAllListeners('warning')
process.on('warning', ({ name, message }) => {
  if (name !== 'PoolsmithWarning') log.line(`${name}: ${message}`)
})
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // `poolsmith connections | head`: the reader has closed the pipe.
  if (error.code === 'EPIPE') process.exit(EXIT_CODES.success)
  log.line(`poolsmith: standard output cannot be written: ${error.message}`)
  process.exit(PHASE_EXIT_CODES.write)
})

// `poolsmith extract ... 2>&1 | head`: the progress is not read any more; the extract goes on.
process.stderr.on('error', () => undefined)

process.exitCode = await run(process.argv.slice(2), {
  terminal: { out, log },
  environment: process.env,
  signal: abort.signal,
  input: () => process.stdin,
  exitCodeOfSignal: () => exitCodeOfSignal,
})
// A Kerberos call cannot be stopped, and a KDC that is silent would keep the program for half a minute more.
if (callsInFlight() > 0) await exitAtOnce(process.exitCode)
