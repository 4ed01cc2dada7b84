/** The door `poolsmith/kerberos`: tickets that are obtained, renewed and verified outside an engine. */

export {
  KerberosTicket,
  type KerberosTicketOptions,
  type TicketEvent,
  type TicketStatus,
  type TicketUpdater,
} from './kerberos-ticket.ts'
export { type TicketInfo, type TicketRequest, verifyTicket } from './ticket.ts'
