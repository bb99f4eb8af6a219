/**
 * A program that is started as the user's command is, and tells what it sees around it. What it is asked comes in, and
 * what it answers goes out, by its standard streams: command lines and variables can be read by others.
 */
import { json } from 'node:stream/consumers';
import { inspect, type InspectionRequest } from '../../agent-image/inspection.ts';

const request = (await json(process.stdin)) as InspectionRequest;
process.stdout.write(JSON.stringify(await inspect(request)));
