// A DNS server for one name, for machines without dnsmasq: `node dns-responder.js PORT NAME ADDRESS`.
// It answers questions for the IPv4 address of NAME over UDP, and says of every other name that it does not exist.
import { createSocket } from 'node:dgram';

const [port = '0', name = '', address = ''] = process.argv.slice(2);
const NAME_ERROR = 3;
const TYPE_A = 1;
const HEADER_BYTES = 12;

/** The question of a query: its name, its type, and the byte at which it ends. */
function readQuestion(query: Buffer): { asked: string; type: number; end: number } {
  const labels: string[] = [];
  let at = HEADER_BYTES;
  for (let length = query.readUInt8(at); length > 0; length = query.readUInt8(at)) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { asked: labels.join('.').toLowerCase(), type: query.readUInt16BE(at + 1), end: at + 5 };
}

function answer(query: Buffer): Buffer {
  const { asked, type, end } = readQuestion(query);
  const known = asked === name.toLowerCase();
  const hasAddress = known && type === TYPE_A;
  const header = Buffer.alloc(HEADER_BYTES);
  query.copy(header, 0, 0, 2); // The id of the question.
  header.writeUInt16BE(0x8580 | (known ? 0 : NAME_ERROR), 2); // An answer, by authority, and whether the name exists.
  header.writeUInt16BE(1, 4); // One question, repeated.
  header.writeUInt16BE(hasAddress ? 1 : 0, 6);
  // The name (as a pointer to the question), type A, class IN, to be kept for no time, four bytes.
  const record = [0xc0, HEADER_BYTES, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, ...address.split('.').map(Number)];
  console.log(`asked for ${asked}, type ${type}: ${hasAddress ? address : known ? 'no such record' : 'no such name'}`);
  return Buffer.concat([header, query.subarray(HEADER_BYTES, end), Buffer.from(hasAddress ? record : [])]);
}

const socket = createSocket('udp4');
socket.on('message', (query, { port: from, address: asker }) => {
  try {
    socket.send(answer(query), from, asker);
  } catch (error) {
    console.log(`not a question: ${String(error)}`);
  }
});
socket.bind(Number(port), '127.0.0.1', () => console.log(`listening on 127.0.0.1, port ${port}, for ${name}`));
