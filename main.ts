/** `cos`: starts the command that its first word asks for; nothing else. */
console.log("cos 0.1.0");
