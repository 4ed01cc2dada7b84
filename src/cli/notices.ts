import type { Listener } from '../pool/events.ts'
import { printable } from '../printable.ts'
import type { Screen } from './terminal.ts'

/** In characters: one notice is one line, and a message of several problems is longer than most. */
const LONGEST = 4000

/** A message for people that is not an error. */
export interface Notice {
  readonly kind: 'config' | 'security' | 'certificate'
  readonly message: string
}

interface NoticeListeners {
  readonly 'credential:prompt': Listener<'credential:prompt'>
  readonly 'config:warning': Listener<'config:warning'>
  readonly 'security:warning': Listener<'security:warning'>
  readonly 'certificate:expiring': Listener<'certificate:expiring'>
}

/** Listeners for an engine that pass on warnings, each once, and print at once what a person has to do. */
export function noticeListeners(tell: (notice: Notice) => void, log: Screen): NoticeListeners {
  const told = new Set<string>()
  const once = (kind: Notice['kind'], message: string): void => {
    const line = printable(message, LONGEST)
    if (told.has(line)) return
    told.add(line)
    tell({ kind, message: line })
  }
  return {
    'credential:prompt': ({ message }) => log.line(printable(message, LONGEST)),
    'config:warning': ({ path, message }) => once('config', `${path}: ${message}`),
    'security:warning': ({ message }) => once('security', message),
    'certificate:expiring': ({ file, subject, expiresAt }) =>
      once('certificate', `${file}: the certificate of ${subject} ends on ${new Date(expiresAt).toISOString()}`),
  }
}
