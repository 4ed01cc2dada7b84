/** A real HAProxy before one or more PostgreSQL servers, as a load balancer. */

import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { type Pooler, startBefore } from './pooler.ts'

export interface HaproxyOptions {
  /** The servers by name: `127.0.0.1:5432 check inter 200ms`. */
  readonly servers: Readonly<Record<string, string>>
  /** More lines for the listener, which is called `db`. They take the place of the limits, as they come later. */
  readonly lines?: readonly string[]
  /** More words for its address: `ssl crt FILE`. A file is written for each text here under its name. */
  readonly bind?: string
  readonly files?: Readonly<Record<string, string>>
}

export interface Haproxy extends Pooler {
  /** Runs a command of its runtime interface and returns the answer. */
  readonly command: (line: string) => Promise<string>
}

export async function startHaproxy({ servers, lines = [], bind = '', files = {} }: HaproxyOptions): Promise<Haproxy> {
  let socket = ''
  const pooler = await startBefore({
    path: '/usr/sbin/haproxy',
    stopSignal: 'SIGTERM',
    prepare: async (folder, port) => {
      socket = join(folder, 'admin.sock')
      for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content, { mode: 0o600 })
      const config = [
        'global',
        '  maxconn 200',
        `  stats socket ${socket} mode 600 level admin`,
        'defaults',
        '  mode tcp',
        '  timeout connect 5s',
        '  timeout client 60s',
        '  timeout server 60s',
        'listen db',
        `  bind 127.0.0.1:${port} ${bind}`,
        ...lines.map((line) => `  ${line}`),
        ...Object.entries(servers).map(([name, words]) => `  server ${name} ${words}`),
        '',
      ]
      await writeFile(join(folder, 'haproxy.cfg'), config.join('\n'))
      return ['-db', '-C', folder, '-f', join(folder, 'haproxy.cfg')]
    },
  })
  const command = async (line: string): Promise<string> => {
    const connection = connect(socket)
    await once(connection, 'connect')
    connection.write(`${line}\n`)
    return text(connection)
  }
  return { ...pooler, command }
}
