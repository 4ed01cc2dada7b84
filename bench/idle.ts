/**
 * The cost of idle sessions, against pg.Pool's: processor time and wake-ups of a process that holds 10 and 1,000 of them,
 * also beside 10,000 sockets of another process, and the memory of one. Both sides are idle at the same time. The first
 * 30 s after use count by themselves: in them the pool and the network look once more after what was used. By default it
 * ends before V8 collects garbage in a process that has long been idle, twice in all, which has nothing to do with sessions.
 */

import { type ChildProcess, execFile, fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { IdleFigures } from './idle-side.ts'
import { median, type Result, type SuiteOptions } from './measure.ts'

const execute = promisify(execFile)
const SECONDS = 60
/** For each figure: a process wakes up so seldom that one alone says little. */
const PROCESSES = 10
/** Node wakes up every seven seconds by itself: the windows must not all begin at the same point of that. */
const STAGGER_MILLIS = 1750
const LONG_SECONDS = 600
const MOST_RATIO = 1.2
/** Longer than the network is watched over after a statement. */
const SETTLING_SECONDS = 30
const FOREIGN_SOCKETS = 10_000
const MOST_BYTES = 24 * 1024
/** Processor time of 1,000 sessions in the 30 s after use, in milliseconds. */
const MOST_SETTLING = 25

const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url))

async function sideFigures(side: 'ours' | 'peer', count: number, port: number, seconds: number): Promise<IdleFigures> {
  const { stdout } = await execute(
    process.execPath,
    ['--expose-gc', path('idle-side.ts'), side, ...[count, port, SETTLING_SECONDS, seconds].map(String)],
    { timeout: (seconds + 120) * 1000 },
  )
  return JSON.parse(stdout) as IdleFigures
}

/** A child process that says one thing when it is ready. */
async function started(child: ChildProcess): Promise<unknown> {
  const [said] = await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(([code]) => {
      throw new Error(`A process of the benchmark ended with ${code}.`)
    }),
  ])
  return said
}

interface Listening {
  readonly port: number
}

type Ports = Readonly<Record<'ours' | 'peer', number>>

interface Pair {
  readonly ours: IdleFigures
  readonly peer: IdleFigures
}

/** Both sides, for each of the counts, several times over, all idle at the same time. */
function measure(counts: readonly number[], ports: Ports, seconds: number): Promise<Pair[]> {
  const several = async (side: 'ours' | 'peer', count: number): Promise<IdleFigures> =>
    middle(
      await Promise.all(
        Array.from({ length: PROCESSES }, async (_, index) => {
          await sleep(index * STAGGER_MILLIS)
          return sideFigures(side, count, ports[side], seconds)
        }),
      ),
    )
  return Promise.all(
    counts.map(async (count) => {
      const [ours, peer] = await Promise.all([several('ours', count), several('peer', count)])
      return { ours, peer }
    }),
  )
}

function middle(all: readonly IdleFigures[]): IdleFigures {
  const of = (figure: (one: IdleFigures) => number): number => median(all.map(figure))
  return {
    settlingMillis: of((one) => one.settlingMillis),
    cpuMillis: of((one) => one.cpuMillis),
    wakeUps: of((one) => one.wakeUps),
    bytesPerSession: of((one) => one.bytesPerSession),
  }
}

function figuresOf(name: string, { ours, peer }: Pair, seconds: number): Result[] {
  const minutes = seconds / 60
  return [
    bounded(`${name}: processor time`, 'ms/min', ours.cpuMillis / minutes, peer.cpuMillis / minutes, MOST_RATIO),
    bounded(`${name}: wake-ups`, '/min', ours.wakeUps / minutes, peer.wakeUps / minutes, MOST_RATIO),
  ]
}

function bounded(name: string, unit: string, ours: number, peer: number, bound: number): Result {
  const [a, b, ratio] = [ours, peer, ours / peer].map((value) => Number(value.toPrecision(4))) as [
    number,
    number,
    number,
  ]
  return { name, ours: a, peer: b, unit, ratio, bound, met: ratio <= bound }
}

export async function run({ long = false }: SuiteOptions = {}): Promise<Result[]> {
  const seconds = long ? LONG_SECONDS : SECONDS
  // A process may have 20,000 files open in many places, so each side has a server of its own.
  const servers = [fork(path('idle-server.ts')), fork(path('idle-server.ts'))]
  let foreign: ChildProcess | undefined
  try {
    const [ours, peer] = (await Promise.all(servers.map(started))) as [Listening, Listening]
    const ports = { ours: ours.port, peer: peer.port }
    const [few, many] = (await measure([10, 1000], ports, seconds)) as [Pair, Pair]
    foreign = fork(path('idle-foreign.ts'), [String(FOREIGN_SOCKETS)])
    await started(foreign)
    const [crowded] = (await measure([1000], ports, seconds)) as [Pair]
    return [
      ...figuresOf('10 idle sessions', few, seconds),
      ...figuresOf('1,000 idle sessions', many, seconds),
      ...figuresOf('1,000 idle sessions beside 10,000 foreign sockets', crowded, seconds),
      bounded('the same in the 30 s after use, at most', 'ms', crowded.ours.settlingMillis, MOST_SETTLING, 1),
      bounded('memory of an idle session, at most', 'bytes', many.ours.bytesPerSession, MOST_BYTES, 1),
    ]
  } finally {
    for (const server of servers) server.kill()
    foreign?.kill()
  }
}
